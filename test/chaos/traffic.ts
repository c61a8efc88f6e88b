/** What the load is made of: the kinds of requests, and what is known of each one afterwards. */

export interface Kind {
  readonly name: KindName;
  readonly label: string;
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly keyed: boolean;
  /** Of its body; one of these, in turn. */
  readonly bytes: readonly number[];
  /** Its part of all requests; the parts need not add up to 1. */
  readonly share: number;
}
export type KindName = 'get' | 'post' | 'keyed' | 'large' | 'noted' | 'hot';

/** What the balancer keeps of a request unless it is told otherwise, so that it can repeat it; a larger one it cannot. */
const REPEATABLE_BYTES = 65_536;

export const KINDS: readonly Kind[] = [
  { name: 'get', label: 'GET', method: 'GET', path: '/chaos/read', keyed: false, bytes: [0], share: 0.5 },
  { name: 'post', label: 'plain POST', method: 'POST', path: '/chaos/plain', keyed: false, bytes: [1024], share: 0.25 },
  {
    name: 'keyed',
    label: 'POST with a key',
    method: 'POST',
    path: '/chaos/keyed',
    keyed: true,
    // Mostly small, and some that no usual buffer holds.
    bytes: [1024, 1024, 1024, 1024, 40_960],
    share: 0.24,
  },
  {
    name: 'large',
    label: 'the same, too large to repeat',
    method: 'POST',
    path: '/chaos/keyed',
    keyed: true,
    bytes: [REPEATABLE_BYTES * 2],
    share: 0.01,
  },
  {
    name: 'noted',
    label: 'POST with a key, no database',
    method: 'POST',
    path: '/chaos/noted',
    keyed: true,
    bytes: [1024],
    share: 0.25,
  },
  { name: 'hot', label: 'GET of a module', method: 'GET', path: '/chaos/hot', keyed: false, bytes: [0], share: 0.1 },
];
/** What a load has of, unless it is said otherwise. */
export const MIX: readonly KindName[] = ['get', 'post', 'keyed', 'large'];

/** Every so many requests of a kind take so long, so that some are in hand at any moment. */
export const SLOW_EACH = 8;
export const SLOW_MS = [50, 300] as const;

/** One request, and what came of it. Times are ms since the epoch. */
export interface Sent {
  readonly id: string;
  readonly kind: KindName;
  /** Its handler was told to take a while. */
  readonly isSlow: boolean;
  /** When it was to be sent; the load does not wait for answers. */
  readonly dueAt: number;
  readonly sentAt: number;
  readonly endedAt: number;
  /** 0: there was no answer. */
  readonly status: number;
  /** Why there was none, or what was wrong with it; empty for a good one. */
  readonly failure: string;
  /** The server that answered, and the version of its service. */
  readonly by: string;
  readonly version: string;
}

export interface LoadOrder {
  /** Where to: http://host:port. */
  readonly url: string;
  readonly perSecond: number;
  readonly seconds: number;
  /** Begins the id of each request. */
  readonly run: string;
  /** A request that was not answered by then has failed. */
  readonly timeoutMs: number;
  readonly kinds: readonly KindName[];
  /** Instead of a rate: so many at a time, each sent when the one before is answered. */
  readonly closed?: number;
  /** False: no request is a slow one. */
  readonly slow?: boolean;
}

/** How far the load is. */
export interface Progress {
  readonly sent: number;
  readonly ok: number;
  readonly failed: number;
  /** Good answers, by the server that gave them. */
  readonly by: Readonly<Record<string, number>>;
}
