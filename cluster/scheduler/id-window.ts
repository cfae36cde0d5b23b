/** Ids taken from the log at once. */
export const ID_WINDOW = 1_000;

/**
 * Hands out ids from windows that were replicated before their first use: a restart loses the rest of a window, and
 * never gives an id twice.
 */
export class IdWindow {
  readonly #take: (count: number) => Promise<number>;
  #next = 0;
  #end = 0;
  #tail: Promise<unknown> = Promise.resolve();

  /** @param take replicates that `count` ids are taken, and returns the first */
  constructor(take: (count: number) => Promise<number>) {
    this.#take = take;
  }

  /** The first of `count` consecutive ids. */
  allocate(count: number): Promise<number> {
    const allocated = this.#tail.then(() => this.#allocate(count));
    this.#tail = allocated.catch(() => undefined);
    return allocated;
  }

  async #allocate(count: number): Promise<number> {
    if (this.#next + count > this.#end) {
      const size = Math.max(ID_WINDOW, count);
      const first = await this.#take(size);
      // Whatever window follows directly goes on where the last one ended.
      if (first !== this.#end) this.#next = first;
      this.#end = first + size;
    }
    const first = this.#next;
    this.#next += count;
    return first;
  }

  /** Another member may lead now: its windows come after this one's. */
  forget(): void {
    this.#next = 0;
    this.#end = 0;
  }
}
