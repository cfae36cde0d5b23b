/** Tasks under way at most; whoever brings one more waits for its own. */
const MAX_TASKS = 256;

/** What goes on after its caller was answered: commits of secondaries, locks of others. What fails here, others make good. */
export class BackgroundTasks {
  readonly #underWay = new Set<Promise<void>>();

  get size(): number {
    return this.#underWay.size;
  }

  /** @returns when the caller may go on: at once, while there is room */
  run(task: () => Promise<unknown>): Promise<void> {
    const done: Promise<void> = task().then(
      () => this.#end(done),
      // Its locks are resolved by whoever meets them.
      () => this.#end(done),
    );
    this.#underWay.add(done);
    return this.#underWay.size > MAX_TASKS ? done : Promise.resolve();
  }

  /** When nothing is under way any more. */
  async finished(): Promise<void> {
    while (this.#underWay.size > 0) await Promise.all(this.#underWay);
  }

  #end(done: Promise<void>): void {
    this.#underWay.delete(done);
  }
}
