export { Type } from 'typebox';
export { defineService } from '../../core/service.ts';
