import path from 'node:path';
import type { Channels } from '../calls/channels.ts';
import type { Connections } from '../calls/connections.ts';
import type { Securities } from '../calls/securities.ts';
import type { Services } from '../calls/services.ts';
import type { Fixtures } from '../config/fixtures.ts';
import type { Cradle } from '../cradle.ts';
import type { Timetable } from '../jobs/timetable.ts';
import { effectsOf } from '../kinds/effects.ts';
import type { Logger, Logs } from '../log/log.ts';
import type { Deployments } from '../modules/deployments.ts';
import type { Bus } from '../ports/bus.ts';
import type { Odb, Stored } from '../ports/odb.ts';
import type { Passwords } from '../ports/password.ts';
import type { Secret } from '../schema/secret.ts';
import { Keyring } from '../secrets/keyring.ts';
import { open } from '../secrets/sealing.ts';
import type { ServerInfo } from '../server.ts';
import { SignedSessions } from '../users/sessions.ts';
import { Drafts } from './drafts.ts';
import { type Keep, Reconciler } from './reconcile.ts';
import type { Definition } from './record.ts';
import { RecordKeeper } from './records.ts';
import { readSnapshot, Snapshots } from './snapshot.ts';

interface Parts {
  readonly cradle: Cradle;
  readonly channels: Channels;
  readonly connections: Connections;
  readonly securities: Securities;
  readonly services: Services;
  readonly deployments: Deployments;
  readonly fixtures: Fixtures;
  readonly timetable: Timetable;
  readonly logs: Logs;
  readonly log: Logger;
  readonly server: ServerInfo;
  readonly secrets: { readonly keys?: Secret; readonly file?: string };
  readonly pollMs: number;
  /** Kinds that are put into effect here; null: all. */
  readonly follows: readonly string[] | null;
}

/** A repeat of a call comes within days, if at all. */
const EFFECTS_KEPT_MS = 35 * 86_400_000;
const FORGET_EVERY_MS = 3_600_000;

/** Everything that comes with an operational database: records that take effect while running, and who may change them. */
export class Operations {
  readonly records: RecordKeeper;
  readonly sessions: SignedSessions;
  readonly #parts: Parts;
  readonly #reconciler: Reconciler;
  #keyring: Keyring | null = null;
  #forgetting: NodeJS.Timeout | undefined;

  /** Opens no file and no connection. */
  constructor(parts: Parts) {
    this.#parts = parts;
    const { cradle, channels, connections, securities, services, fixtures, logs, log, server, pollMs } = parts;
    const { deployments, timetable, follows } = parts;
    const operations = this;
    const late = {
      get keyring(): Keyring {
        return operations.keyring;
      },
      // The plugins that give them are created after this.
      get odb(): Odb {
        return cradle.odb;
      },
      get bus(): Bus | null {
        return cradle.bus;
      },
      get passwords(): Passwords | null {
        return cradle.passwords;
      },
    };
    // A spread would ask the getters at once.
    const lately = <T extends object>(own: T): T & typeof late =>
      Object.assign(Object.create(late) as typeof late, own);
    const fixed = (kind: string, name: string) => fixtures.has(kind, name);
    const keep = this.#keep();
    this.#reconciler = new Reconciler(
      lately({
        keep,
        effects: effectsOf({ channels, connections, securities, deployments, timetable, logs }, follows),
        fixed,
        open: ({ kind, name, body }: Stored) => {
          const { value, problems } = open({ name, ...body }, this.keyring, `${kind}/${name}`);
          if (problems.length > 0) log.error({ kind, record: name, problems }, 'a secret cannot be read');
          return value as Definition;
        },
        keys: () => this.#keys(),
        log,
        server: server.name,
        pollMs,
      }),
    );
    const drafts = new Drafts(
      lately({
        channels,
        connections,
        securities,
        deployments,
        transports: cradle.transports,
        guards: cradle.guards,
        verbs: (service: string) => (services.has(service) ? services.slot(service).verbs : null),
        fixed,
      }),
    );
    this.records = new RecordKeeper(lately({ drafts, reconciler: this.#reconciler, fixtures, server: server.name }));
    this.sessions = new SignedSessions(
      () => this.keyring,
      (user) => this.records.find('user', user),
    );
  }

  /** Read, or made, when it is first needed. Throws KEY_INVALID. */
  get keyring(): Keyring {
    if (this.#keyring !== null) return this.#keyring;
    const { secrets, server, log } = this.#parts;
    const file = secrets.file ?? path.join(server.data, 'secret.keys');
    const keyring = new Keyring({ keys: secrets.keys ?? null, file });
    if (keyring.created) {
      log.warn(
        { file },
        'a key that seals secrets was made: keep a copy of it, and give it to every server of a cluster',
      );
    }
    if (keyring.warning !== null) log.warn({ file }, keyring.warning);
    this.#keyring = keyring;
    return keyring;
  }

  /** Puts all records into effect, and follows their changes from then on. */
  async start(): Promise<void> {
    void this.keyring;
    await this.#reconciler.load();
    this.#reconciler.start();
    void this.#forget();
    this.#forgetting = setInterval(() => void this.#forget(), FORGET_EVERY_MS);
    this.#forgetting.unref();
  }
  async #forget(): Promise<void> {
    const { cradle, log } = this.#parts;
    const before = new Date(Date.now() - EFFECTS_KEPT_MS);
    await cradle.odb.forget(before).catch((error: unknown) => log.debug({ error }, 'old effects are kept for now'));
  }
  /** Takes over all changes that were made until now. */
  async catchUp(): Promise<void> {
    await this.#reconciler.catchUp();
  }
  async stop(): Promise<void> {
    clearInterval(this.#forgetting);
    await this.#reconciler.stop();
  }

  /** The ids of the keys as their file has them by now; while that is not valid, those that there were. */
  #keys(): string {
    try {
      this.keyring.refresh();
    } catch (error) {
      this.#parts.log.debug({ error }, 'the keys cannot be read; those that there were are used');
    }
    return this.keyring.ids.join();
  }

  #keep(): Keep {
    const { server, log } = this.#parts;
    const file = () => path.join(server.data, 'snapshot.jsonl');
    let snapshots: Snapshots | null = null;
    return {
      read: () => readSnapshot(file(), this.keyring),
      save: (state) => {
        snapshots ??= new Snapshots({ file: file(), keyring: this.keyring, log });
        snapshots.save(() => ({ ...state(), savedAt: new Date(), server: server.name }));
      },
      settle: async () => snapshots?.settle(),
    };
  }
}
