/**
 * Reads of one turn, batched.
 *
 * Many keys by one `multiGet` cost 6 to 9 µs each, a record behind another in a scan about 8 µs, and an iterator set to
 * a key about 100 µs (measured with `rocksdb-native` on two cores). So locks and long values come by `multiGet`, the
 * keys whose newest records are wanted share a scan as long as they stand close together, and what is remembered of a key
 * (recent-keys.ts) is not read again.
 */
import type { Engine, EngineSnapshot } from '../engine.js';
import { StorageError } from '../errors.js';
import { compareBytes, escapeKey, keyAfter, withTimestamp } from '../keys.js';
import { decodeLock } from './lock-record.js';
import { MvccEngine } from './mvcc-engine.js';
import type { RecentKey } from './recent-keys.js';
import { type CommittedWrite, type Lock, MAX_TIMESTAMP, type Timestamp } from './types.js';
import { afterVersions, committedWrite, keyOfVersion } from './versions.js';

/** So many records read in vain cost what setting an iterator to a key costs. */
const RECORDS_PER_SEEK = 12;
/** Fewer keys are not worth trying whether they stand close together. */
const MIN_SHARED = 8;
/** Iterators open at once. */
const MAX_SEEKS = 64;
/** Records of one native read. */
const MAX_PAGE = 512;

/** Wants write records of a key, from the newest at or below `from` on. */
export interface WriteQuery {
  /** The key without a timestamp. */
  readonly stored: Uint8Array;
  readonly from: Timestamp;
  /** Is given one record after the other, newer ones first, until it returns true. */
  take(write: CommittedWrite): boolean;
}

/** Where a version's value stands in the family `default`. */
export interface ValuePlace {
  readonly stored: Uint8Array;
  readonly startTs: Timestamp;
}

/** Reads of one turn, all from one snapshot of the engine; the snapshot's owner releases it. */
export class MvccReader {
  readonly #memory: MvccEngine | undefined;

  constructor(
    readonly engine: Engine,
    readonly snapshot: EngineSnapshot,
  ) {
    this.#memory = engine instanceof MvccEngine ? engine : undefined;
  }

  /** The locks of stored keys, in their order. */
  async locks(stored: readonly Uint8Array[]): Promise<(Lock | undefined)[]> {
    const locks = new Array<Lock | undefined>(stored.length).fill(undefined);
    const asked: { readonly index: number; readonly known: RecentKey | undefined }[] = [];
    for (const [index, key] of stored.entries()) {
      const known = this.#recall(key);
      if (known?.isUnlocked !== true) asked.push({ index, known });
    }
    if (asked.length === 0) return locks;
    const keys = asked.map(({ index }) => stored[index] as Uint8Array);
    const records = await this.engine.multiGet('lock', keys, this.snapshot);
    for (const [i, { index, known }] of asked.entries()) {
      const record = records[i];
      if (record !== undefined) locks[index] = decodeLock(record);
      else if (known !== undefined) known.isUnlocked = true;
    }
    return locks;
  }

  /** Long values, in order. @throws StorageError `corruption` when one is missing. */
  async values(places: readonly ValuePlace[]): Promise<Uint8Array[]> {
    const values = new Array<Uint8Array>(places.length);
    const asked: {
      readonly index: number;
      readonly key: Uint8Array;
      readonly known: RecentKey | undefined;
    }[] = [];
    for (const [index, { stored, startTs }] of places.entries()) {
      const known = this.#recall(stored);
      if (known?.value?.startTs === startTs) values[index] = known.value.bytes;
      else asked.push({ index, key: withTimestamp(stored, startTs), known });
    }
    if (asked.length === 0) return values;
    const keys = asked.map(({ key }) => key);
    const found = await this.engine.multiGet('default', keys, this.snapshot);
    for (const [i, { index, key, known }] of asked.entries()) {
      const value = found[i];
      if (!value)
        throw new StorageError(
          'corruption',
          `The value of "${escapeKey(key)}" is missing in the family default, and its write record stands.`,
        );
      values[index] = value;
      const { stored, startTs } = places[index] as ValuePlace;
      // An older version's is not worth it.
      if (known?.newest?.startTs === startTs) this.#memory?.recent.keepValue(stored, known, startTs, value);
    }
    return values;
  }

  /** The records with exactly these commit timestamps, in order. */
  async writesAt(
    places: readonly { readonly stored: Uint8Array; readonly commitTs: Timestamp }[],
  ): Promise<(CommittedWrite | undefined)[]> {
    const keys = places.map(({ stored, commitTs }) => withTimestamp(stored, commitTs));
    const records = await this.engine.multiGet('write', keys, this.snapshot);
    return records.map((record, i) => record && committedWrite(keys[i] as Uint8Array, record));
  }

  /** Answers all queries; each has been given what it wanted, or all that there is, when it resolves. */
  async seekWrites(queries: readonly WriteQuery[]): Promise<void> {
    const { open, lookouts } = this.#fromMemory(queries);
    if (open.length === 0) return;
    let searches = searchesOf(open);
    if (searches.length >= MIN_SHARED) searches = await this.#scanShared(searches);
    let next = 0;
    const seekOneAfterTheOther = async (): Promise<void> => {
      for (let search = searches[next++]; search; search = searches[next++]) await this.#seek(search);
    };
    await Promise.all(Array.from({ length: Math.min(MAX_SEEKS, searches.length) }, seekOneAfterTheOther));
    for (const { stored, known, newest } of lookouts) this.#memory?.recent.keepNewest(stored, known, newest);
  }

  #recall(stored: Uint8Array): RecentKey | undefined {
    return this.#memory?.recall(stored, this.snapshot);
  }

  /** What memory leaves open, and what is to be remembered then. */
  #fromMemory(queries: readonly WriteQuery[]): {
    readonly open: readonly WriteQuery[];
    readonly lookouts: readonly Lookout[];
  } {
    const lookouts: Lookout[] = [];
    if (this.#memory === undefined) return { open: queries, lookouts };
    const open: WriteQuery[] = [];
    for (const query of queries) {
      const { stored } = query;
      const known = this.#recall(stored);
      if (known?.newest === undefined) {
        open.push(query);
        if (known === undefined) continue;
        const lookout = new Lookout(stored, known);
        lookouts.push(lookout);
        open.push(lookout);
        continue;
      }
      const { newest } = known;
      if (newest === null) continue;
      if (newest.commitTs > query.from) open.push(query);
      else if (!query.take(newest)) open.push(below(query, newest.commitTs));
    }
    return { open, lookouts };
  }

  /** Reads from the first key on as long as that answers enough searches. Returns those without an answer. */
  async #scanShared(searches: readonly Search[]): Promise<Search[]> {
    const end = afterVersions((searches[searches.length - 1] as Search).stored);
    let at = 0;
    let start: Uint8Array | undefined;
    for (let records = 0; ; ) {
      const first = searches[at];
      if (!first || at * RECORDS_PER_SEEK < records) break;
      if (!start || compareBytes(start, first.position) < 0) start = first.position;
      const limit = Math.min(MAX_PAGE, Math.max(searches.length - at, MIN_SHARED));
      const page = await this.engine.scan('write', { start, end, limit, snapshot: this.snapshot });
      for (let i = 0; i < page.keys.length && at < searches.length; i++) {
        const version = page.keys[i] as Uint8Array;
        at = passSearches(searches, at, version);
        const search = searches[at];
        if (search?.offer(version, page.values[i] as Uint8Array)) at++;
      }
      if (!page.more) return [];
      records += page.keys.length;
      start = keyAfter(page.keys[page.keys.length - 1] as Uint8Array);
    }
    return searches.slice(at);
  }

  async #seek(search: Search): Promise<void> {
    const end = afterVersions(search.stored);
    for (let limit = 1; ; limit = Math.min(MAX_PAGE, limit * 8)) {
      const page = await this.engine.scan('write', {
        start: search.position,
        end,
        limit,
        snapshot: this.snapshot,
      });
      for (let i = 0; i < page.keys.length; i++) {
        if (search.offer(page.keys[i] as Uint8Array, page.values[i] as Uint8Array)) return;
      }
      if (!page.more) return;
    }
  }
}

/** Waits for the newest record of a key, which is worth remembering. */
class Lookout implements WriteQuery {
  readonly from = MAX_TIMESTAMP;
  newest: CommittedWrite | null = null;

  constructor(
    readonly stored: Uint8Array,
    readonly known: RecentKey,
  ) {}

  take(write: CommittedWrite): boolean {
    this.newest = write;
    return true;
  }
}

/** The rest of a query that was given the record of `commitTs`. */
function below(query: WriteQuery, commitTs: Timestamp): WriteQuery {
  return { stored: query.stored, from: commitTs - 1n, take: (write) => query.take(write) };
}

/** The queries of one key. */
class Search {
  #open: readonly WriteQuery[];
  /** Where its next record may stand. */
  position: Uint8Array;

  /** @param queries in descending order of `from`. */
  constructor(
    readonly stored: Uint8Array,
    queries: readonly WriteQuery[],
  ) {
    this.#open = queries;
    this.position = withTimestamp(stored, (queries[0] as WriteQuery).from);
  }

  /**
   * Gives a record to those whom it concerns; whether nobody wants more. One that stands before what is wanted, of another
   * key even, is passed over.
   */
  offer(version: Uint8Array, record: Uint8Array): boolean {
    if (compareBytes(version, this.position) < 0) return false;
    const write = committedWrite(version, record);
    this.#open = this.#open.filter((query) => write.commitTs > query.from || !query.take(write));
    const [next] = this.#open;
    if (next === undefined) return true;
    // A reader of the past need not walk over everything since.
    this.position = next.from < write.commitTs ? withTimestamp(this.stored, next.from) : keyAfter(version);
    return false;
  }
}

/** In the order of the keys. */
function searchesOf(queries: readonly WriteQuery[]): Search[] {
  const sorted = [...queries].sort(
    (a, b) => compareBytes(a.stored, b.stored) || (a.from > b.from ? -1 : Number(a.from < b.from)),
  );
  const searches: Search[] = [];
  for (let from = 0; from < sorted.length; ) {
    const { stored } = sorted[from] as WriteQuery;
    let to = from + 1;
    while (to < sorted.length && compareBytes((sorted[to] as WriteQuery).stored, stored) === 0) to++;
    searches.push(new Search(stored, sorted.slice(from, to)));
    from = to;
  }
  return searches;
}

/** The first search from `at` on whose key is not below that of the version. */
function passSearches(searches: readonly Search[], at: number, version: Uint8Array): number {
  const key = keyOfVersion(version);
  while (at < searches.length && compareBytes((searches[at] as Search).stored, key) < 0) at++;
  return at;
}
