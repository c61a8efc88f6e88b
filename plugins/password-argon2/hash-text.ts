/** Hashes as they are kept: PHC strings, `$argon2id$v=19$m=19456,t=2,p=1$<salt>$<digest>`. */
import { randomBytes } from 'node:crypto';
import { parseOptions } from '@node-rs/argon2';

/** What one check costs (RFC 9106, 3.1). */
export interface Cost {
  readonly memoryKiB: number;
  readonly iterations: number;
  readonly parallelism: number;
}

/** Nothing dearer is computed: a hash may come from elsewhere, and one of them must not stand for minutes of work. */
const MOST_MEMORY_KIB = 2 * 1024 * 1024;
const MOST_WORK_KIB = 2 * MOST_MEMORY_KIB;

/** Why a cost is not taken, or null. */
export function refusedCost({ memoryKiB, iterations, parallelism }: Cost): string | null {
  if (memoryKiB < 8 * parallelism) return 'memoryKiB is less than 8 times parallelism (RFC 9106, 3.1)';
  if (memoryKiB > MOST_MEMORY_KIB) return `memoryKiB is more than ${MOST_MEMORY_KIB}`;
  return memoryKiB * iterations > MOST_WORK_KIB ? `memoryKiB times iterations is more than ${MOST_WORK_KIB}` : null;
}

/** Why a text is no hash that can be checked here, or null. Tells nothing of the text. */
export function refusedHash(text: string): string | null {
  if (!text.startsWith('$argon2')) return 'it does not begin with $argon2';
  try {
    const { memoryCost, timeCost, parallelism } = parseOptions(text);
    return refusedCost({ memoryKiB: memoryCost, iterations: timeCost, parallelism });
  } catch (error) {
    return `it is no PHC string of Argon2 (${(error as Error).message})`;
  }
}

/** A hash of no password, that takes as long to check as one that is. */
export function hashOfNobody({ memoryKiB, iterations, parallelism }: Cost): string {
  const random = (bytes: number) => randomBytes(bytes).toString('base64').replaceAll('=', '');
  return `$argon2id$v=19$m=${memoryKiB},t=${iterations},p=${parallelism}$${random(16)}$${random(32)}`;
}
