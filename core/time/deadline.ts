/** Waits for some work at most that long; rejects with what `late` makes when the time is over. */
export async function inTime<T>(work: Promise<T> | undefined, ms: number, late: () => Error): Promise<T | undefined> {
  if (work === undefined) return undefined;
  let timer: NodeJS.Timeout | undefined;
  const over = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(late()), ms);
  });
  try {
    return await Promise.race([work, over]);
  } finally {
    clearTimeout(timer);
  }
}
