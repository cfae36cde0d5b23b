/**
 * What a range of keys was at a timestamp.
 *
 * The families `lock` and `write` are walked over side by side, a page at a time. A key whose versions reach beyond a
 * page is finished by a point read, and the next page begins behind it: so a key with very many versions costs two reads
 * and not all of its versions.
 */
import { compareBytes, isVersionOf, txnRange, userKey, withTimestamp } from '../keys.js';
import { FamilyCursor } from './family-cursor.js';
import { decodeLock } from './lock-record.js';
import { lockInfo } from './outcome.js';
import { isVersion } from './read-plan.js';
import type { MvccReader } from './reader.js';
import type { SnapshotScan, SnapshotScanResult } from './requests.js';
import { ScanPairs, type Seen } from './scan-pairs.js';
import type { Lock, Write } from './types.js';
import { afterVersions, keyOfVersion } from './versions.js';
import { sightOf } from './visibility.js';
import { decodeWrite } from './write-record.js';

const LOCKS_PER_PAGE = 64;
const SMALLEST_PAGE = 16;
/** Of one iterator: opening another costs as much as twenty keys. */
const LARGEST_PAGE = 4096;
/** With more versions of each key, a page is wasted for the most part: small ones then. */
const MANY_VERSIONS = 32;
/** Records looked at in one call, at most. */
const MAX_RECORDS = 65_536;

/**
 * Locked keys stand in their place with their error. It stops early, with `more`, after very many records that no pair
 * came of.
 */
export async function scanSnapshot(scan: SnapshotScan, reader: MvccReader): Promise<SnapshotScanResult> {
  const range = txnRange(scan.start, scan.end);
  if (compareBytes(range.start, range.end) >= 0) return { pairs: [], more: false, lastKey: undefined };
  if (scan.limit <= 0) return { pairs: [], more: true, lastKey: undefined };
  return new SnapshotWalk(scan, range, reader).run();
}

class SnapshotWalk {
  readonly #scan: SnapshotScan;
  readonly #writes: FamilyCursor;
  readonly #locks: FamilyCursor;
  readonly #pairs: ScanPairs;
  /** The timestamp as it stands at the end of a stored key. */
  readonly #suffix: Uint8Array;
  #last: Uint8Array | undefined;
  /** Of the last page. */
  #page = { records: 0, keys: 0 };
  #records = 0;

  constructor(
    scan: SnapshotScan,
    range: { readonly start: Uint8Array; readonly end: Uint8Array },
    reader: MvccReader,
  ) {
    this.#scan = scan;
    this.#writes = new FamilyCursor(reader, 'write', range, scan.reverse);
    this.#locks = new FamilyCursor(reader, 'lock', range, scan.reverse);
    this.#pairs = new ScanPairs(scan, reader);
    this.#suffix = withTimestamp(new Uint8Array(0), scan.ts);
  }

  async run(): Promise<SnapshotScanResult> {
    for (;;) {
      await this.#fill();
      while (!this.#writes.isEmpty && !this.#locks.isEmpty && this.#pairs.mayTakeMore) {
        if (!this.#step()) break;
      }
      const cut = await this.#pairs.resolve();
      if (cut) return this.#result(cut.more || !this.#isAtEnd, cut.last);
      if (this.#isAtEnd) return this.#result(false, this.#last);
      if (this.#records >= MAX_RECORDS) return this.#result(true, this.#last);
    }
  }

  get #isAtEnd(): boolean {
    return this.#writes.isAtEnd && this.#locks.isAtEnd;
  }

  #result(more: boolean, last: Uint8Array | undefined): SnapshotScanResult {
    return { pairs: this.#pairs.pairs, more, lastKey: last && userKey(last).key };
  }

  async #fill(): Promise<void> {
    const [writes = 0, locks = 0] = await Promise.all([
      this.#writes.isEmpty ? this.#writes.fill(this.#pageSize(), this.#scan.maxBytes) : undefined,
      this.#locks.isEmpty ? this.#locks.fill(LOCKS_PER_PAGE) : undefined,
    ]);
    if (writes > 0) this.#page = { records: writes, keys: 0 };
    this.#records += writes + locks;
  }

  #pageSize(): number {
    const { records, keys } = this.#page;
    const versions = keys === 0 ? 1 : records / keys;
    if (versions > MANY_VERSIONS) return SMALLEST_PAGE;
    const wanted = Math.ceil(this.#pairs.room * versions) + 1;
    return Math.max(SMALLEST_PAGE, Math.min(LARGEST_PAGE, wanted));
  }

  /** Goes over the next key. False at the end of both families. */
  #step(): boolean {
    const version = this.#writes.key;
    const locked = this.#locks.key;
    if (!version && !locked) return false;
    const order = this.#order(locked, version);
    let stored: Uint8Array;
    let lock: Lock | undefined;
    if (locked && order <= 0) {
      stored = locked;
      lock = decodeLock(this.#locks.value);
      this.#locks.next();
    } else stored = keyOfVersion(version as Uint8Array);
    const written: Seen = order >= 0 ? this.#versionOf(stored) : { state: 'absent' };
    this.#pairs.add(stored, lock ? this.#underLock(stored, lock, written) : written);
    this.#last = stored;
    return true;
  }

  /** Below 0 when the lock's key comes first, 0 when both are of one key. */
  #order(locked: Uint8Array | undefined, version: Uint8Array | undefined): number {
    if (!locked) return 1;
    if (!version) return -1;
    const order = compareBytes(locked, keyOfVersion(version));
    return this.#scan.reverse ? -order : order;
  }

  #underLock(stored: Uint8Array, lock: Lock, written: Seen): Seen {
    const { key } = userKey(stored);
    const sight = sightOf(key, lock, this.#scan);
    if (sight === 'passed') return written;
    if (sight === 'blocked') return { state: 'locked', lock: lockInfo(key, lock) };
    return seen(lock);
  }

  /** Goes over the versions of a key that the page holds. */
  #versionOf(stored: Uint8Array): Seen {
    this.#page.keys++;
    let found: Write | undefined;
    let isDecided = false;
    for (
      let version = this.#writes.key;
      version && isVersionOf(version, stored);
      version = this.#writes.key
    ) {
      if (this.#scan.reverse) {
        if (this.#isVisible(version)) found = newerVersion(found, decodeWrite(this.#writes.value));
        else isDecided = true;
      } else if (!isDecided && this.#isVisible(version)) {
        found = newerVersion(found, decodeWrite(this.#writes.value));
        isDecided = found !== undefined;
      }
      this.#writes.next();
    }
    if (this.#writes.isEmpty) {
      // There may be more of them beyond the page, which nobody needs to walk over.
      this.#writes.resumeFrom(this.#scan.reverse ? stored : afterVersions(stored));
      if (!isDecided) return { state: 'unknown' };
    }
    return found ? seen(found) : { state: 'absent' };
  }

  /** Committed at or below the scan's timestamp: descending ones are compared as bytes. */
  #isVisible(version: Uint8Array): boolean {
    const from = version.length - this.#suffix.length;
    for (let i = 0; i < this.#suffix.length; i++) {
      const difference = (version[from + i] as number) - (this.#suffix[i] as number);
      if (difference !== 0) return difference > 0;
    }
    return true;
  }
}

/** Locks and rollbacks leave a key as it was. */
function newerVersion(found: Write | undefined, write: Write): Write | undefined {
  return isVersion(write) ? write : found;
}

function seen(source: Write | Lock): Seen {
  if (source.kind !== 'put') return { state: 'absent' };
  const { shortValue, startTs } = source;
  return shortValue ? { state: 'value', value: shortValue } : { state: 'long', startTs };
}
