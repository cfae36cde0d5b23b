/** The last so many of something, oldest first. */
export class Ring<T> {
  readonly #most: number;
  #items: T[] = [];

  constructor(most: number) {
    this.#most = most;
  }

  push(item: T): void {
    this.#items.push(item);
    if (this.#items.length >= 2 * this.#most) this.#items = this.#items.slice(-this.#most);
  }

  get all(): readonly T[] {
    return this.#items.length > this.#most ? this.#items.slice(-this.#most) : this.#items;
  }

  get last(): T | undefined {
    return this.#items.at(-1);
  }
}
