/** A binary heap: the least item first, in logarithmic time. */
export class Heap<T> {
  readonly #items: T[] = [];
  readonly #before: (one: T, other: T) => boolean;

  constructor(before: (one: T, other: T) => boolean) {
    this.#before = before;
  }

  get size(): number {
    return this.#items.length;
  }
  peek(): T | undefined {
    return this.#items[0];
  }

  push(item: T): void {
    const items = this.#items;
    let at = items.push(item) - 1;
    while (at > 0) {
      const above = (at - 1) >> 1;
      if (!this.#before(items[at] as T, items[above] as T)) return;
      this.#swap(at, above);
      at = above;
    }
  }

  pop(): T | undefined {
    const items = this.#items;
    const first = items[0];
    const last = items.pop();
    if (items.length === 0 || last === undefined) return first;
    items[0] = last;
    let at = 0;
    while (true) {
      const left = 2 * at + 1;
      const right = left + 1;
      let least = at;
      if (left < items.length && this.#before(items[left] as T, items[least] as T)) least = left;
      if (right < items.length && this.#before(items[right] as T, items[least] as T)) least = right;
      if (least === at) return first;
      this.#swap(at, least);
      at = least;
    }
  }

  clear(): void {
    this.#items.length = 0;
  }
  /** Drops the items that are not kept. */
  keep(isKept: (item: T) => boolean): void {
    for (const item of this.#items.splice(0)) if (isKept(item)) this.push(item);
  }

  #swap(one: number, other: number): void {
    const items = this.#items;
    const kept = items[one] as T;
    items[one] = items[other] as T;
    items[other] = kept;
  }
}
