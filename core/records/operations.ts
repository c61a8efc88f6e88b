import path from 'node:path';
import type { Logger } from '../log/log.ts';
import type { Bus } from '../ports/bus.ts';
import type { Effect } from '../ports/kind.ts';
import type { Odb, Stored } from '../ports/odb.ts';
import type { Keyring } from '../secrets/keyring.ts';
import { open } from '../secrets/sealing.ts';
import type { ServerInfo } from '../server.ts';
import type { Kinds } from './kinds.ts';
import { type Keep, Reconciler } from './reconcile.ts';
import type { Definition, Fixed } from './record.ts';
import { readSnapshot, Snapshots } from './snapshot.ts';

export interface ReconcilingParts {
  readonly odb: Odb;
  readonly bus: Bus | null;
  readonly kinds: Kinds;
  readonly fixtures: Fixed;
  readonly keyring: () => Keyring;
  readonly server: ServerInfo;
  readonly log: Logger;
  /** How often the change log is looked at when nobody reports a change. */
  readonly pollMs: number;
  /** Kinds that are put into effect here; null: all. */
  readonly follows: readonly string[] | null;
}

/** The reconciler of a server, with its last known good state in the data folder. Opens no file and no connection. */
export function reconcilerOf(parts: ReconcilingParts): Reconciler {
  const { odb, bus, fixtures, keyring, server, log, pollMs } = parts;
  return new Reconciler({
    odb,
    bus,
    keep: keepOf(parts),
    effects: () => effectsOf(parts),
    fixed: (kind, name) => fixtures.has(kind, name),
    open({ kind, name, body }: Stored) {
      const { value, problems } = open({ name, ...body }, keyring(), `${kind}/${name}`);
      if (problems.length > 0) log.error({ kind, record: name, problems }, 'a secret cannot be read');
      return value as Definition;
    },
    keys: () => keysOf(parts),
    log,
    server: server.name,
    pollMs,
  });
}

function effectsOf({ kinds, follows }: ReconcilingParts): ReadonlyMap<string, Effect | null> {
  const isFollowed = (kind: string) => follows === null || follows.includes(kind);
  return new Map(kinds.names().map((kind) => [kind, (isFollowed(kind) && kinds.get(kind).effect) || null]));
}

/** The ids of the keys as their file has them by now; while that is not valid, the last good ones. */
function keysOf({ keyring, log }: ReconcilingParts): string {
  try {
    keyring().refresh();
  } catch (error) {
    log.debug({ error }, 'the keys cannot be read; the last good ones are used');
  }
  return keyring().ids.join();
}

function keepOf({ server, keyring, log }: ReconcilingParts): Keep {
  const file = () => path.join(server.data, 'snapshot.jsonl');
  let snapshots: Snapshots | null = null;
  return {
    read: () => readSnapshot(file(), keyring()),
    save: (state) => {
      snapshots ??= new Snapshots({ file: file(), keyring: keyring(), log });
      snapshots.save(() => ({ ...state(), savedAt: new Date(), server: server.name }));
    },
    settle: async () => snapshots?.settle(),
  };
}

interface Parts {
  readonly odb: Odb;
  readonly reconciler: Reconciler;
  readonly keyring: () => Keyring;
  readonly log: Logger;
}

/** A repeat of a call comes within days, if at all. */
const EFFECTS_KEPT_MS = 35 * 86_400_000;
const FORGET_EVERY_MS = 3_600_000;

/** What a server does with its records from its start to its stop. */
export class Operations {
  readonly #parts: Parts;
  #forgetting: NodeJS.Timeout | undefined;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** Puts all records into effect, and follows their changes from then on. Rejects with KEY_INVALID, or as the odb does. */
  async start(): Promise<void> {
    const { keyring, reconciler } = this.#parts;
    keyring();
    await reconciler.load();
    reconciler.start();
    void this.#forget();
    this.#forgetting = setInterval(() => void this.#forget(), FORGET_EVERY_MS);
    this.#forgetting.unref();
  }
  async #forget(): Promise<void> {
    const { odb, log } = this.#parts;
    const before = new Date(Date.now() - EFFECTS_KEPT_MS);
    await odb.forget(before).catch((error: unknown) => log.debug({ error }, 'old effects are kept for now'));
  }
  /** Takes over all changes that were made until now. */
  async catchUp(): Promise<void> {
    await this.#parts.reconciler.catchUp();
  }
  async stop(): Promise<void> {
    clearInterval(this.#forgetting);
    await this.#parts.reconciler.stop();
  }
}
