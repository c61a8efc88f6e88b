/** How long to wait before trying again: exponential, with full jitter on its upper half, so that callers spread out. */
export function backoffMs(
  attempt: number,
  { backoffMs: first = 100, maxBackoffMs: most = 10_000 }: { backoffMs?: number; maxBackoffMs?: number } = {},
): number {
  const ceiling = Math.min(most, first * 2 ** Math.min(30, attempt - 1));
  return ceiling / 2 + (Math.random() * ceiling) / 2;
}

/** Waits; rejects with the signal's reason when it fires first. */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted === true) return reject(signal.reason);
    const stop = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', stop);
      resolve();
    }, ms);
    signal?.addEventListener('abort', stop, { once: true });
  });
}
