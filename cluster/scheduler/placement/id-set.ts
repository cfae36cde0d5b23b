/** Numbers, each once, from which a random one can be taken in constant time. */
export class IdSet {
  readonly #ids: number[] = [];
  readonly #places = new Map<number, number>();

  get size(): number {
    return this.#ids.length;
  }

  has(id: number): boolean {
    return this.#places.has(id);
  }

  add(id: number): void {
    if (this.#places.has(id)) return;
    this.#places.set(id, this.#ids.length);
    this.#ids.push(id);
  }

  delete(id: number): void {
    const place = this.#places.get(id);
    if (place === undefined) return;
    const last = this.#ids.pop();
    this.#places.delete(id);
    if (last === undefined || last === id) return;
    this.#ids[place] = last;
    this.#places.set(last, place);
  }

  /** @param random from 0 up to 1; `undefined` of an empty set */
  pick(random: () => number): number | undefined {
    return this.#ids[Math.floor(random() * this.#ids.length)];
  }

  [Symbol.iterator](): IterableIterator<number> {
    return this.#ids.values();
  }
}
