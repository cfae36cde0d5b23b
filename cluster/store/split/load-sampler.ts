import { TroupeError } from '../../errors.js';
import { type BalanceLimits, loadSplitKey, type SampledRead } from './load-split-key.js';

/** When a region is split because of what is read from it; TiKV's `split.*` settings. */
export interface LoadSplitLimits extends BalanceLimits {
  /** Requests a second from which on a region is hot (3,000). Each key of a batch counts as one. */
  readonly qpsThreshold: number;
  /** Bytes read a second from which on it is hot too (30 MiB). */
  readonly bytesThreshold: number;
  /** Seconds in a row that a region is hot before it is split (10). */
  readonly detectTimes: number;
  /** Requests of a second whose keys are kept (20). */
  readonly samples: number;
  /** Regions of which keys are kept at a time: the hottest ones (16). */
  readonly regions: number;
}

export const DEFAULT_LOAD_SPLIT: LoadSplitLimits = {
  qpsThreshold: 3_000,
  bytesThreshold: 30 * 2 ** 20,
  detectTimes: 10,
  samples: 20,
  regions: 16,
  balanceScore: 0.25,
  containedScore: 0.5,
};

/** A region that should be split at a key. */
export interface LoadSplit {
  readonly regionId: number;
  readonly key: Uint8Array;
}

/** Milliseconds over which load is measured. */
const SECOND_MS = 1_000;
/** A tick that comes a little early ends the second too. */
const EARLY_MS = 100;
/** Keys are kept once a region has this share of a hot second's load: whoever stays colder costs two additions. */
const WARM_SHARE = 1 / 2;
/** Regions that are decided on in one tick, each in up to 0.6 ms of the event loop (measured); the others in the next. */
const DECISIONS = 4;
/** A key is chosen only from this share of the samples that hot seconds can give, at least. */
const ENOUGH_SAMPLES = 1 / 2;

/**
 * Finds regions that are read too much, and keys that divide what is read from them (TiKV's load-base-split). Only the
 * leader's reads count: a follower has none.
 *
 * A request to a region that is not hot costs two additions and keeps nothing (measured: 28 ns, and 37 ns where it is
 * hot). Of hot ones some `regions` × `samples` × `detectTimes` requests are kept, as copies of their keys.
 */
export class LoadSampler {
  readonly #limits: LoadSplitLimits;
  readonly #random: () => number;
  readonly #loads = new Map<number, RegionLoad>();
  /** When the present second began; `undefined` before the first tick. */
  #since: number | undefined;
  #sampled = 0;

  /**
   * @param random the store's source of chance
   * @throws TroupeError `usage` when a limit makes no sense
   */
  constructor(random: () => number, limits: Partial<LoadSplitLimits> = {}) {
    this.#limits = { ...DEFAULT_LOAD_SPLIT, ...limits };
    this.#random = random;
    checkLimits(this.#limits);
  }

  /** A key was read. @param key as it is stored @param bytes of the answer */
  noteRead(regionId: number, key: Uint8Array, bytes: number): void {
    this.#note(regionId, key, undefined, bytes);
  }

  /**
   * A range was read: as far as the reading got, not as far as it might have.
   * @param start inclusive, as it is stored
   * @param end exclusive; empty for the region's end
   * @param bytes of the answer
   */
  noteScan(regionId: number, start: Uint8Array, end: Uint8Array, bytes: number): void {
    this.#note(regionId, start, end, bytes);
  }

  /** What was seen of a region counts no more: it was split or merged, or is led elsewhere. */
  forget(regionId: number): void {
    const load = this.#loads.get(regionId);
    if (load === undefined) return;
    this.#cool(load);
    this.#loads.delete(regionId);
  }

  /**
   * To be called about once a second; what comes sooner has no effect.
   * @param now milliseconds of a monotonic clock
   * @returns the regions to split now. Their ranges may have changed: whoever splits them checks that.
   */
  tick(now: number): LoadSplit[] {
    const elapsed = now - (this.#since ?? Number.NEGATIVE_INFINITY);
    if (elapsed < SECOND_MS - EARLY_MS) return [];
    this.#since = now;
    const seconds = Math.max(elapsed, SECOND_MS) / SECOND_MS;
    const hot: RegionLoad[] = [];
    for (const load of this.#loads.values()) {
      load.heat = this.#heatOf(load) / seconds;
      if (load.heat >= 1) hot.push(load);
      else this.#cool(load);
      // A region that nobody reads needs no place.
      if (load.requests === 0) this.#loads.delete(load.regionId);
      load.requests = 0;
      load.bytes = 0;
    }
    return this.#detect(hot);
  }

  #note(regionId: number, start: Uint8Array, end: Uint8Array | undefined, bytes: number): void {
    const load = this.#loads.get(regionId) ?? this.#add(regionId);
    load.requests++;
    load.bytes += bytes;
    if (load.samples !== undefined) load.samples.note(start, end);
    else if (this.#sampled < this.#limits.regions && this.#heatOf(load) >= WARM_SHARE) this.#sample(load);
  }

  #add(regionId: number): RegionLoad {
    const load = new RegionLoad(regionId);
    this.#loads.set(regionId, load);
    return load;
  }

  /** 1 for a load that makes a second hot. */
  #heatOf({ requests, bytes }: RegionLoad): number {
    return Math.max(requests / this.#limits.qpsThreshold, bytes / this.#limits.bytesThreshold);
  }

  #sample(load: RegionLoad): void {
    load.samples = new ReadSamples(this.#limits.samples, this.#random);
    this.#sampled++;
  }

  #cool(load: RegionLoad): void {
    if (load.samples !== undefined) this.#sampled--;
    load.samples = undefined;
    load.hotSeconds = 0;
  }

  /** The hottest ones are watched on; those that were hot for long enough are split where that helps. */
  #detect(hot: RegionLoad[]): LoadSplit[] {
    hot.sort((a, b) => b.heat - a.heat || a.regionId - b.regionId);
    for (const load of hot.slice(this.#limits.regions)) this.#cool(load);
    const splits: LoadSplit[] = [];
    let decisions = 0;
    for (const load of hot.slice(0, this.#limits.regions)) {
      load.hotSeconds++;
      load.samples?.endSecond();
      if (load.hotSeconds >= this.#limits.detectTimes && decisions++ < DECISIONS) {
        const key = this.#keyOf(load);
        if (key !== undefined) splits.push({ regionId: load.regionId, key });
        this.#cool(load);
      }
      if (load.samples === undefined) this.#sample(load);
    }
    return splits;
  }

  #keyOf({ samples }: RegionLoad): Uint8Array | undefined {
    const { detectTimes, samples: perSecond } = this.#limits;
    if (samples === undefined || samples.reads.length < detectTimes * perSecond * ENOUGH_SAMPLES) {
      return undefined;
    }
    return loadSplitKey(samples.reads, this.#limits, this.#random);
  }
}

/** One region's load in the present second. */
class RegionLoad {
  requests = 0;
  bytes = 0;
  /** Of the second before; 1 is hot. */
  heat = 0;
  /** In a row. */
  hotSeconds = 0;
  samples: ReadSamples | undefined;

  constructor(readonly regionId: number) {}
}

/** Of each second's requests some, each as likely as the other (a reservoir). */
class ReadSamples {
  readonly #perSecond: number;
  readonly #random: () => number;
  /** Of all seconds; those of the present one come last. */
  readonly reads: SampledRead[] = [];
  #before = 0;
  #seen = 0;

  constructor(perSecond: number, random: () => number) {
    this.#perSecond = perSecond;
    this.#random = random;
  }

  note(start: Uint8Array, end: Uint8Array | undefined): void {
    const place = this.#seen < this.#perSecond ? this.#seen : Math.floor(this.#random() * (this.#seen + 1));
    this.#seen++;
    // A copy: the key may be a view of a whole frame.
    if (place < this.#perSecond)
      this.reads[this.#before + place] = { start: copy(start), end: end && copy(end) };
  }

  endSecond(): void {
    this.#before = this.reads.length;
    this.#seen = 0;
  }
}

function copy(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes);
}

function checkLimits(limits: LoadSplitLimits): void {
  for (const name of ['qpsThreshold', 'bytesThreshold', 'detectTimes', 'samples', 'regions'] as const) {
    const value = limits[name];
    if (Number.isSafeInteger(value) && value > 0) continue;
    throw new TroupeError('usage', `${name} is ${value}: give a whole number above zero`);
  }
  for (const name of ['balanceScore', 'containedScore'] as const) {
    const value = limits[name];
    if (value >= 0 && value <= 1) continue;
    throw new TroupeError('usage', `${name} is ${value}: give a number from 0 to 1`);
  }
}
