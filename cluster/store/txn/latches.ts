/** A command that needs its keys for itself. */
export interface Latched {
  /** Without duplicates. */
  readonly latches: readonly string[];
  /** How many of them others have before it; counted by the table. */
  ahead: number;
}

/**
 * Who has a store's transactional keys, and who comes after them (TiKV's latches, each key its own instead of a hash's slot).
 *
 * A command joins the queues of all its keys in one step and has them when it is first in each. So of any two commands the same
 * one is ahead in every queue that they share: none waits for one that waits for it, and each key is served in the order of
 * arrival. Nothing is acquired bit by bit, which is why the keys need no order among themselves.
 */
export class Latches<C extends Latched> {
  /** Who has a key stands first; nearly always it is alone. */
  readonly #queues = new Map<string, C | C[]>();

  /** Keys that somebody has. */
  get size(): number {
    return this.#queues.size;
  }

  isFree(key: string): boolean {
    return !this.#queues.has(key);
  }

  /** @returns whether the command has all of its keys at once; else `release` of those before it tells when. */
  acquire(command: C): boolean {
    command.ahead = 0;
    for (const key of command.latches) {
      const queue = this.#queues.get(key);
      if (queue === undefined) {
        this.#queues.set(key, command);
        continue;
      }
      command.ahead++;
      if (Array.isArray(queue)) queue.push(command);
      else this.#queues.set(key, [queue, command]);
    }
    return command.ahead === 0;
  }

  /**
   * Takes the command out, whether it has its keys or waits for them.
   * @param ready told of each command that has all of its keys by that
   */
  release(command: C, ready: (next: C) => void): void {
    for (const key of command.latches) {
      const queue = this.#queues.get(key);
      if (queue === command) this.#queues.delete(key);
      if (!Array.isArray(queue)) continue;
      // Who gives up waiting came late: a region's leave from the last to the first.
      const place = queue[0] === command ? 0 : queue.lastIndexOf(command);
      if (place < 0) continue;
      queue.splice(place, 1);
      const [first] = queue;
      if (queue.length === 1 && first !== undefined) this.#queues.set(key, first);
      if (place === 0 && first !== undefined && --first.ahead === 0) ready(first);
    }
  }
}
