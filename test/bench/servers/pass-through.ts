import type { Middleware } from 'koa';

/** A Koa middleware that does nothing but be there. */
const passThrough: Middleware = (_ctx, next) => next();
export default passThrough;
