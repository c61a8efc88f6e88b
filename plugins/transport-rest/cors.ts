import type { IncomingMessage } from 'node:http';
import { GantryError, type Static, Type } from '../../core/api.ts';
import type { HttpReply } from '../../core/ports/index.ts';

/** Who may call from a browser (WHATWG Fetch, CORS protocol). */
export const CorsSettings = Type.Object(
  {
    origins: Type.Array(Type.String(), { minItems: 1, description: "Origins such as 'https://app.example', or '*'" }),
    headers: Type.Array(Type.String(), {
      default: ['content-type', 'authorization', 'x-correlation-id'],
      description: 'Request headers that pages may set',
    }),
    expose: Type.Array(Type.String(), {
      default: ['x-correlation-id'],
      description: 'Reply headers that pages may read',
    }),
    credentials: Type.Boolean({ default: false, description: 'Cookies and the like; not with every origin' }),
    maxAgeS: Type.Integer({ default: 600, minimum: 0, description: 'How long browsers keep a preflight, in seconds' }),
  },
  { additionalProperties: false },
);

export interface Cors {
  /** Adds what a reply to this request needs. */
  mark(req: IncomingMessage, headers: Record<string, string | string[]>): void;
  preflight(req: IncomingMessage): HttpReply;
}

/** Throws CHANNEL_INVALID where any origin would get credentials. */
export function compileCors(settings: Static<typeof CorsSettings>, methods: readonly string[], owner: string): Cors {
  const { origins, headers, expose, credentials, maxAgeS } = settings;
  const any = origins.includes('*');
  if (any && credentials) {
    throw new GantryError('CHANNEL_INVALID', `Channel '${owner}' would give credentials to every origin`, {
      hint: "List the origins in settings.cors.origins instead of '*', or set credentials to false.",
    });
  }
  const allowed = new Set(origins);
  const origin = (req: IncomingMessage): string | null => {
    const from = req.headers.origin;
    if (from === undefined) return null;
    return any ? '*' : allowed.has(from) ? from : null;
  };
  const mark = (req: IncomingMessage, to: Record<string, string | string[]>): void => {
    if (!any) vary(to, 'origin');
    const from = origin(req);
    if (from === null) return;
    to['access-control-allow-origin'] = from;
    if (credentials) to['access-control-allow-credentials'] = 'true';
    if (expose.length > 0) to['access-control-expose-headers'] = expose.join(', ');
  };
  const preflight = (req: IncomingMessage): HttpReply => {
    const reply: HttpReply = { status: 204, headers: {}, body: null };
    mark(req, reply.headers);
    if (reply.headers['access-control-allow-origin'] !== undefined) {
      reply.headers['access-control-allow-methods'] = methods.join(', ');
      reply.headers['access-control-allow-headers'] = headers.join(', ');
      reply.headers['access-control-max-age'] = String(maxAgeS);
    }
    return reply;
  };
  return { mark, preflight };
}

/** Adds a name to the Vary header of a reply. */
export function vary(headers: Record<string, string | string[]>, name: string): void {
  const had = headers['vary'];
  headers['vary'] = had === undefined ? name : `${String(had)}, ${name}`;
}
