import { audit } from './audit.ts';
import { balancerVerbs } from './balancer.ts';
import { cluster, serverVerbs } from './cluster.ts';
import type { Noun } from './command.ts';
import { CONFIGURATION } from './configuration.ts';
import { connectionVerbs } from './connection.ts';
import { jobVerbs } from './job.ts';
import { own } from './kinds.ts';
import { moduleVerbs } from './module.ts';
import { NEW_PASSWORD, recordNoun, setPassword, switches } from './record-nouns.ts';
import { run } from './run.ts';
import { scheduler } from './scheduler.ts';
import { health, info } from './server.ts';
import { service } from './service.ts';
import { session } from './session.ts';
import { statistics } from './statistics.ts';

/** Every command of the client: usage, help and docs are made from this table. */
export const NOUNS: readonly Noun[] = [
  service,
  recordNoun(own('channel'), ...switches('channel')),
  recordNoun(own('connection'), ...switches('connection'), ...connectionVerbs),
  recordNoun(own('security')),
  recordNoun(own('user'), {
    name: 'password',
    does: 'gives one a new password, which ends the sessions of that user',
    words: 'NAME',
    options: [NEW_PASSWORD],
    run: setPassword,
  }),
  recordNoun(own('job'), ...switches('job'), ...jobVerbs),
  run,
  scheduler,
  recordNoun(own('setting')),
  recordNoun(own('dictionary')),
  recordNoun(own('module'), ...moduleVerbs),
  recordNoun(own('server'), ...serverVerbs),
  cluster,
  recordNoun(own('balancer'), ...balancerVerbs),
  statistics,
  session,
  audit,
  info,
  health,
  ...CONFIGURATION,
];
