/** Which record a request is for: the distributions of YCSB (Cooper et al., SoCC 2010, section 5.1). */

import { hashModulo } from './fnv.js';
import { ZIPFIAN_THETA, Zipfian } from './zipfian.js';

export const DISTRIBUTIONS = ['zipfian', 'latest', 'uniform'] as const;
export type Distribution = (typeof DISTRIBUTIONS)[number];

/** Draws numbers of records that are there. */
export type RecordChooser = () => number;

/**
 * YCSB draws ranks from so many items, whatever the number of records, and scatters them by a hash: what is hot does not
 * depend on how many records there are. The sum is the one that belongs to them, given since it takes minutes.
 */
const SCRAMBLED_ITEMS = 10_000_000_000;
const SCRAMBLED_ZETA = 26.46902820178302;

/**
 * @param room records that there may come to be, at least those that are there now
 * @param present records that are there: numbers from 0 up to, not including, this
 */
export function recordChooser(
  distribution: Distribution,
  random: () => number,
  room: number,
  present: () => number,
): RecordChooser {
  switch (distribution) {
    case 'uniform':
      return () => Math.floor(random() * present());
    case 'zipfian':
      return scrambled(random, room, present);
    case 'latest':
      return latest(random, present);
  }
}

/** Hot records lie scattered, and stay the same ones while records are added: a number that has no record yet is drawn anew. */
function scrambled(random: () => number, room: number, present: () => number): RecordChooser {
  const ranks = new Zipfian(random, SCRAMBLED_ITEMS, ZIPFIAN_THETA, SCRAMBLED_ZETA);
  return () => {
    const there = present();
    const items = Math.max(room, 1);
    for (;;) {
      const record = hashModulo(ranks.next(), items);
      if (record < there) return record;
    }
  };
}

/** The last record is the most frequent. */
function latest(random: () => number, present: () => number): RecordChooser {
  const ages = new Zipfian(random, present());
  return () => {
    const there = present();
    ages.grow(there);
    return there - 1 - ages.next();
  };
}

/**
 * Numbers for new records. A record counts as present when it and all before it have been acknowledged, so that what is
 * chosen has been written (YCSB's AcknowledgedCounterGenerator).
 */
export class RecordNumbers {
  #next: number;
  #present: number;
  /** Acknowledged before an earlier one was: fewer than there are writers. */
  readonly #early = new Set<number>();

  /** @param present records that are there */
  constructor(present: number) {
    this.#next = present;
    this.#present = present;
  }

  /** Records 0 up to, not including, this are there. */
  get present(): number {
    return this.#present;
  }

  /** The number of a record that is about to be written. */
  take(): number {
    return this.#next++;
  }

  acknowledge(record: number): void {
    this.#early.add(record);
    while (this.#early.delete(this.#present)) this.#present++;
  }
}
