import type { Operation } from './history.js';

/** Beginnings that an operation may see between its own beginning and end and still count as short. */
const SHORT = 64;
const BITS = 15;

/**
 * A set of operations, with a name that is equal for equal sets only, and short.
 *
 * Short operations take effect nearly in the order of their beginnings, so of those it is enough to name the first that is
 * not in the set and which ones beyond are. Long ones (of unknown outcome, above all) would hold that place up for
 * ever: they have a bit each.
 */
export class Configuration {
  /** Place of each operation among the short ones; of long ones, `-1 - place` among the long ones. */
  readonly #place: Int32Array;
  readonly #short: Uint8Array;
  readonly #long: Uint16Array;
  /** First short one that is not in the set. */
  #frontier = 0;
  /** How many beyond the frontier are. */
  #ahead = 0;

  constructor(operations: readonly Operation<unknown, unknown>[]) {
    const calls = operations.map(({ call }) => call).sort((a, b) => a - b);
    const order = operations.map((_, index) => index);
    order.sort((a, b) => (operations[a]?.call ?? 0) - (operations[b]?.call ?? 0));
    this.#place = new Int32Array(operations.length);
    let short = 0;
    let long = 0;
    order.forEach((index, rank) => {
      const end = operations[index]?.return ?? Number.POSITIVE_INFINITY;
      const isShort = Number.isFinite(end) && (calls[rank + SHORT] ?? Number.POSITIVE_INFINITY) > end;
      this.#place[index] = isShort ? short++ : -1 - long++;
    });
    this.#short = new Uint8Array(short);
    this.#long = new Uint16Array(Math.ceil(long / BITS));
  }

  add(operation: number): void {
    const place = this.#place[operation] ?? 0;
    if (place < 0) {
      this.#flip(-1 - place);
      return;
    }
    this.#short[place] = 1;
    this.#ahead++;
    while (this.#short[this.#frontier] === 1) {
      this.#frontier++;
      this.#ahead--;
    }
  }

  remove(operation: number): void {
    const place = this.#place[operation] ?? 0;
    if (place < 0) {
      this.#flip(-1 - place);
      return;
    }
    this.#short[place] = 0;
    if (place < this.#frontier) {
      this.#ahead += this.#frontier - place - 1;
      this.#frontier = place;
    } else {
      this.#ahead--;
    }
  }

  key(): string {
    let name = String(this.#frontier);
    if (this.#ahead > 0) {
      name += ':';
      let left = this.#ahead;
      for (let from = this.#frontier + 1; left > 0; from += BITS) {
        let bits = 0;
        for (let i = 0; i < BITS; i++) {
          if (this.#short[from + i] !== 1) continue;
          bits |= 1 << i;
          left--;
        }
        name += String.fromCharCode(bits);
      }
    }
    if (this.#long.length > 0) name += `;${String.fromCharCode(...this.#long)}`;
    return name;
  }

  #flip(place: number): void {
    const word = Math.floor(place / BITS);
    this.#long[word] = (this.#long[word] ?? 0) ^ (1 << (place % BITS));
  }
}
