/** Zipf's distribution: rank `k`, from 0, comes up in proportion to `1 / (k + 1)^theta`. */

/** How skewed YCSB's workloads are. */
export const ZIPFIAN_THETA = 0.99;

/**
 * Draws ranks as Gray et al. do ("Quickly Generating Billion-Record Synthetic Databases", SIGMOD 1994, section 3): the
 * first two ranks have exactly their share; the others share what is left along a curve that can be inverted, so that a
 * draw costs one power, however many items there are.
 */
export class Zipfian {
  readonly #random: () => number;
  readonly #theta: number;
  #items: number;
  #zeta: number;
  #eta: number;

  /**
   * @param items how many, from 1
   * @param zeta the sum of all `1 / (k + 1)^theta`, where it is known: the sum over many items takes long
   */
  constructor(
    random: () => number,
    items: number,
    theta = ZIPFIAN_THETA,
    zeta = zetaFrom(0, 0, items, theta),
  ) {
    this.#random = random;
    this.#theta = theta;
    this.#items = items;
    this.#zeta = zeta;
    this.#eta = etaOf(items, theta, zeta);
  }

  /** Draws from `items` from now on; fewer than before are ignored. Costs what the new items add to the sum. */
  grow(items: number): void {
    if (items <= this.#items) return;
    this.#zeta = zetaFrom(this.#zeta, this.#items, items, this.#theta);
    this.#items = items;
    this.#eta = etaOf(items, this.#theta, this.#zeta);
  }

  /** A rank from 0, the most frequent, up to the number of items. */
  next(): number {
    const drawn = this.#random();
    const place = drawn * this.#zeta;
    if (place < 1) return 0;
    if (place < 1 + 0.5 ** this.#theta) return 1;
    const share = 1 - this.#eta * (1 - drawn);
    return Math.min(this.#items - 1, Math.floor(this.#items * share ** (1 / (1 - this.#theta))));
  }
}

/** Adds to `sum`, of the first `from` items, what the items up to `to` bring. */
function zetaFrom(sum: number, from: number, to: number, theta: number): number {
  let total = sum;
  for (let k = from; k < to; k++) total += 1 / (k + 1) ** theta;
  return total;
}

/** What makes the curve pass through rank 2 where the share of the first two ends. */
function etaOf(items: number, theta: number, zeta: number): number {
  return (1 - (2 / items) ** (1 - theta)) / (1 - (1 + 0.5 ** theta) / zeta);
}
