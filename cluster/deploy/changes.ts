/** What a host does with the names that it serves: one thing at a time with each. */

import { TroupeError } from '../errors.js';

/** What happens to a name, as its sentence goes on: "it is being …". */
export type Change = 'deployed' | 'replaced' | 'undeployed' | 'purged';

export class Changes {
  readonly #running = new Map<string, Change>();

  /**
   * Makes a change of a name, unless another one is being made.
   * @throws TroupeError `conflict` at once, with what is being done; what `work` throws
   */
  async alone<T>(name: string, change: Change, work: () => Promise<T>): Promise<T> {
    const other = this.#running.get(name);
    if (other !== undefined) {
      throw new TroupeError('conflict', `${name} is being ${other}: try again in a moment`);
    }
    this.#running.set(name, change);
    try {
      return await work();
    } finally {
      this.#running.delete(name);
    }
  }
}
