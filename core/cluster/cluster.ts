import { type Static, Type } from 'typebox';
import type { GantryError } from '../errors.ts';
import type { RecordsStatus } from '../records/record.ts';
import { type Secret, SecretText } from '../schema/secret.ts';

const LONGEST_MS = 600_000;

/** The part of a config file that makes a process one of a cluster. */
export const ClusterConfig = Type.Object(
  {
    token: SecretText({
      minLength: 0,
      description: 'What tells servers of this cluster from others: the same for all of them. Empty: no cluster',
    }),
    announce: Type.Boolean({
      default: true,
      description: 'False: takes part without being given calls, as an agent does',
    }),
    address: Type.Optional(
      Type.String({
        pattern: '^.+:[0-9]+$',
        description: 'Where the balancer reaches it, as host:port. Default: where it listens',
      }),
    ),
    beatMs: Type.Integer({
      default: 1000,
      minimum: 50,
      maximum: LONGEST_MS,
      description: 'How often it says that it is there',
    }),
    leaseMs: Type.Integer({
      default: 5000,
      minimum: 200,
      maximum: LONGEST_MS,
      description: 'For how long that is believed; some beats',
    }),
    lingerMs: Type.Integer({
      default: 1500,
      minimum: 0,
      maximum: LONGEST_MS,
      description:
        'How long one that leaves still takes calls, until every balancer knows; some checks of the balancer',
    }),
    supervised: Type.Boolean({
      default: false,
      description:
        'Whether somebody starts it again when it ends, e.g. systemd: only then it restarts when it is told to',
    }),
  },
  { additionalProperties: false },
);
export type ClusterConfig = Omit<Static<typeof ClusterConfig>, 'token'> & { readonly token: Secret };

/** A server as it announced itself. */
export interface Member {
  readonly name: string;
  /** Another one with each start. */
  readonly instance: string;
  /** What its machine is named there. */
  readonly machine: string;
  /** As the balancer reaches it. */
  readonly host: string;
  readonly port: number;
  readonly tls: boolean;
  readonly version: string;
  readonly state: 'ready' | 'draining';
  /** ISO 8601. */
  readonly startedAt: string;
  readonly supervised: boolean;
  /** The longest timeout of a channel there. */
  readonly longestMs: number;
  /** The change that it runs with. */
  readonly revision: number;
  /** Since when it may run with less than what is kept; null where it is up to date. */
  readonly staleSince: string | null;
  /** What it could not put into effect, modules first: at most 50, each told in at most 1000 characters. */
  readonly refused: RecordsStatus['refused'];
  /** How many more there are. */
  readonly refusedMore: number;
}

/** Which servers have a change by now. */
export interface Reached {
  readonly revision: number;
  readonly reached: readonly string[];
  /** Those that do not, and how far they are. */
  readonly late: readonly { readonly name: string; readonly revision: number }[];
}

/** The servers that work together, as services and plugins see them. */
export interface Cluster {
  /** This process as it announced itself; null where it does not, and where another one has its name. */
  readonly self: Member | null;
  /** Why the others cannot be asked; null where they can. */
  readonly problem: GantryError | null;
  /** The servers whose lease holds, by name; those with another token are left out. Rejects with KV_UNAVAILABLE. */
  members(): Promise<readonly Member[]>;
  /** Waits until every one that is there runs with a change, at most so long. Rejects with KV_UNAVAILABLE. */
  reached(revision: number, withinMs: number): Promise<Reached>;
  /**
   * Ends a server in order, so that its supervisor starts it again. Rejects with NOT_FOUND, or with CONFLICT if nothing
   * supervises it.
   */
  restart(name: string): Promise<void>;
}
