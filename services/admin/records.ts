/** Create, get, list, update and remove for every kind of record. */
import { type KindRoles, kindServices } from './_kind.ts';

const CONFIGURATION: KindRoles = { read: 'viewer', write: 'developer' };
const PEOPLE: KindRoles = { read: 'administrator', write: 'administrator' };

export default [
  ...kindServices('channel', CONFIGURATION),
  ...kindServices('connection', CONFIGURATION),
  ...kindServices('job', CONFIGURATION),
  ...kindServices('version', CONFIGURATION),
  ...kindServices('setting', CONFIGURATION),
  ...kindServices('dictionary', CONFIGURATION),
  ...kindServices('security', { read: 'viewer', write: 'administrator' }),
  ...kindServices('server', { read: 'viewer', write: 'administrator' }),
  ...kindServices('user', PEOPLE),
];
