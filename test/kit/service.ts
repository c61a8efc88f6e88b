export { Type } from 'typebox';
export { defineService } from '../../core/cradle.ts';
