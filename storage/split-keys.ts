/** Where a region may be split, found by reading all of it, and how large it is, found without. */
import type { Engine, EngineSnapshot, KeyRange } from './engine.js';
import { isVersionOf, withoutTimestamp } from './keys.js';
import { walkRegion } from './region-walk.js';
import { SNAPSHOT_FAMILIES } from './snapshot-chunk.js';

/** Bytes are those of keys and values; keys are stored pairs, so a transactional key counts once for each version. */
export interface SplitLimits {
  /** Bytes of a part that is split off. */
  readonly splitBytes: number;
  /** Bytes that a region may have without being split. */
  readonly maxBytes: number;
  /** Keys of a part that is split off. */
  readonly splitKeys: number;
  /** Keys that a region may have without being split. */
  readonly maxKeys: number;
  /** Parts that are split off at a time: what is behind them waits for another split. */
  readonly maxParts: number;
}

/** Where a region would be split, and how large it is. */
export interface SplitFindings {
  /** Where the parts begin, without the first one: strictly inside the range, ascending; none for a region to be left. */
  readonly keys: Uint8Array[];
  /** Bytes of all keys and values of the region. */
  readonly bytes: number;
  /** Number of its pairs. */
  readonly count: number;
}

/**
 * Looks for the keys at which a region that has grown too large is cut, and measures it (TiKV's rule).
 *
 * A region of at most `maxBytes` and `maxKeys` is left as it is. From a larger one parts are cut off, from its beginning
 * on: each ends before the user key with which it would have more than `splitBytes` or `splitKeys`. What remains is the
 * last part. It may have up to `maxBytes` and `maxKeys`: the last cut is taken back when there is less than
 * `maxBytes - splitBytes` and `maxKeys - splitKeys` behind it. A user key is never torn apart, however many versions it
 * has and in whatever families, so a part that holds a single one may be larger.
 *
 * Reads the whole region. Measured with RocksDB, a million pairs of 100 bytes in tables: about 2.4 µs of the event loop
 * and 3.9 µs of time for each, nearly all of it the engine's scan.
 *
 * @param view stays the caller's.
 * @param pause awaited between reads, of at most 64 KiB (or one pair) and 256 keys each.
 * @throws EngineFailedError, and what `pause` throws.
 */
export async function findSplitKeys(
  engine: Engine,
  view: EngineSnapshot,
  range: KeyRange,
  limits: SplitLimits,
  pause: () => Promise<void>,
): Promise<SplitFindings> {
  const parts = new PartCutter(limits);
  await walkRegion(engine, view, range, pause, (key, bytes) => parts.add(key, bytes));
  return parts.finish();
}

/**
 * The key with about half of a region's bytes before it: the best one is at most a 512th of the region away. Needs one
 * pass and room for a thousand keys.
 *
 * @param view stays the caller's.
 * @param pause awaited between reads, of at most 64 KiB (or one pair) and 256 keys each.
 * @returns a key strictly inside the range; `undefined` when the region has fewer than two user keys.
 * @throws EngineFailedError, and what `pause` throws.
 */
export async function findMiddleKey(
  engine: Engine,
  view: EngineSnapshot,
  range: KeyRange,
  pause: () => Promise<void>,
): Promise<Uint8Array | undefined> {
  const samples = new BoundarySamples();
  await walkRegion(engine, view, range, pause, (key, bytes) => samples.add(key, bytes));
  return samples.middle();
}

/** Keys of each family of which the mean size is taken. */
const SAMPLED_KEYS = 256;
const SAMPLED_BYTES = 64 * 1024;

/**
 * A region's size without reading it: bytes from the engine, the number of pairs from the mean size of the first ones.
 * Costs six native calls at most.
 *
 * What RocksDB answers (measured with version 10 and the binding's defaults) covers tables and memtables. Tables count
 * as they are on disk: in blocks of 8 KiB, uncompressed, so a large range of short keys comes out within 5 %, a range of
 * a few blocks may be two off. But a prefix that keys share counts once (keys of 1000 bytes with 900 in common: a
 * tenth), and old versions and deletions count until they are compacted. Memtables are extrapolated from a few links of
 * their skip lists: half to two and a half times as much as is there. So this tells regions that are far from a limit
 * from those that have to be read.
 *
 * @throws EngineFailedError
 */
export async function approximateRegionSize(
  engine: Engine,
  range: KeyRange,
): Promise<{ readonly bytes: number; readonly count: number }> {
  let bytes = 0;
  let count = 0;
  for (const cf of SNAPSHOT_FAMILIES) {
    const sample = await engine.scan(cf, { ...range, limit: SAMPLED_KEYS, maxBytes: SAMPLED_BYTES });
    let sampled = 0;
    for (const [i, key] of sample.keys.entries()) sampled += key.length + (sample.values[i]?.length ?? 0);
    const guess = sample.more ? Math.max(sampled, await engine.approximateSize(cf, range)) : sampled;
    bytes += guess;
    if (sampled > 0) count += Math.round((guess / sampled) * sample.keys.length);
  }
  return { bytes, count };
}

/**
 * Tells, pair by pair, where a user key begins. All but the first one begin strictly inside the range: whatever lies
 * between a user key and its versions belongs to it.
 */
class UserKeys {
  #current: Uint8Array | undefined;

  /** In its stored form, without a timestamp (a view); `undefined` for what is no key of its space. */
  get current(): Uint8Array | undefined {
    return this.#current;
  }

  /** Whether the stored key belongs to another user key than the one before it. */
  begins(stored: Uint8Array): boolean {
    if (this.#current !== undefined && isVersionOf(stored, this.#current)) return false;
    this.#current = withoutTimestamp(stored);
    return true;
  }
}

class PartCutter {
  readonly #limits: SplitLimits;
  readonly #userKeys = new UserKeys();
  readonly #keys: Uint8Array[] = [];
  #bytes = 0;
  #count = 0;
  /** What was before the user key that is being read, before its part, and before the part before that. */
  #userKeyBytes = 0;
  #userKeyCount = 0;
  #partBytes = 0;
  #partCount = 0;
  #previousBytes = 0;
  #previousCount = 0;

  constructor(limits: SplitLimits) {
    this.#limits = limits;
  }

  add(key: Uint8Array, bytes: number): void {
    if (this.#userKeys.begins(key)) {
      this.#userKeyBytes = this.#bytes;
      this.#userKeyCount = this.#count;
    }
    this.#bytes += bytes;
    this.#count++;
    const { splitBytes, splitKeys, maxParts } = this.#limits;
    if (this.#bytes - this.#partBytes <= splitBytes && this.#count - this.#partCount <= splitKeys) return;
    if (this.#userKeyCount === this.#partCount || this.#keys.length === maxParts) return;
    const { current } = this.#userKeys;
    if (current === undefined) return;
    this.#keys.push(new Uint8Array(current));
    this.#previousBytes = this.#partBytes;
    this.#previousCount = this.#partCount;
    this.#partBytes = this.#userKeyBytes;
    this.#partCount = this.#userKeyCount;
  }

  finish(): SplitFindings {
    const { splitBytes, maxBytes, splitKeys, maxKeys } = this.#limits;
    const bytes = this.#bytes;
    const count = this.#count;
    if (bytes <= maxBytes && count <= maxKeys) return { keys: [], bytes, count };
    const keys = this.#keys;
    const few =
      isFew(bytes - this.#partBytes, bytes - this.#previousBytes, splitBytes, maxBytes) &&
      isFew(count - this.#partCount, count - this.#previousCount, splitKeys, maxKeys);
    if (few) keys.pop();
    return { keys, bytes, count };
  }
}

/**
 * Whether what is behind the last cut is too little for a part of its own. What would not fill one part together with
 * the part before it is no reason for a cut at all.
 */
function isFew(behind: number, together: number, split: number, max: number): boolean {
  return behind < max - split || together <= split;
}

/** Samples kept: thinned out when there are more. */
const MAX_SAMPLES = 1024;

/** A place where the region can be cut, and the bytes before it. */
interface Boundary {
  readonly key: Uint8Array;
  readonly before: number;
}

class BoundarySamples {
  readonly #userKeys = new UserKeys();
  #bytes = 0;
  #samples: Boundary[] = [];
  /** Bytes between neighbours, at least; never more than a 512th of all. */
  #step = 1;

  add(key: Uint8Array, bytes: number): void {
    const before = this.#bytes;
    this.#bytes += bytes;
    if (!this.#userKeys.begins(key) || before === 0) return;
    const last = this.#samples.at(-1);
    if (last !== undefined && before - last.before < this.#step) return;
    const { current } = this.#userKeys;
    if (current === undefined) return;
    this.#samples.push({ key: new Uint8Array(current), before });
    if (this.#samples.length > MAX_SAMPLES) this.#thinOut();
  }

  /** The lower of two that are equally good. */
  middle(): Uint8Array | undefined {
    let best: Boundary | undefined;
    const distance = ({ before }: Boundary): number => Math.abs(2 * before - this.#bytes);
    for (const sample of this.#samples) {
      if (best === undefined || distance(sample) < distance(best)) best = sample;
    }
    return best?.key;
  }

  #thinOut(): void {
    this.#step = this.#bytes / (MAX_SAMPLES / 2);
    const kept: Boundary[] = [];
    for (const sample of this.#samples) {
      const last = kept.at(-1);
      if (last === undefined || sample.before - last.before >= this.#step) kept.push(sample);
    }
    this.#samples = kept;
  }
}
