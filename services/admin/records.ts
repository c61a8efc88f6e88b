/** Create, get, list, update and remove for every kind of record. */
import { jobAnswer } from './_job.ts';
import { type KindRoles, kindServices } from './_kind.ts';

const CONFIGURATION: KindRoles = { read: 'viewer', write: 'developer' };
const PEOPLE: KindRoles = { read: 'administrator', write: 'administrator' };

export default [
  ...kindServices('channel', CONFIGURATION),
  ...kindServices('connection', CONFIGURATION),
  ...kindServices('job', CONFIGURATION, jobAnswer),
  ...kindServices('setting', CONFIGURATION),
  ...kindServices('dictionary', CONFIGURATION),
  // Code has all that the server has: who may write it is an administrator anyway.
  ...kindServices('module', { read: 'viewer', write: 'administrator' }),
  ...kindServices('balancer', { read: 'viewer', write: 'administrator' }),
  ...kindServices('security', { read: 'viewer', write: 'administrator' }),
  ...kindServices('server', { read: 'viewer', write: 'administrator' }),
  ...kindServices('user', PEOPLE),
];
