/**
 * The Raft logs and states of all groups of a store, on an engine.
 *
 * Nothing is kept in memory and nothing is written twice: the last index is the last key of the log, and because terms
 * never fall along a log, the places where they change are found by looking at a few entries.
 */
import type { ConfState, Entry, HardState, InitialState, TermBoundary } from '../machines/raft/types.js';
import type { Engine, WriteBatch } from './engine.js';
import { StorageError } from './errors.js';
import { decodeEntry, encodeEntry, eraftpb, raft_serverpb } from './proto/index.js';
import {
  ENTRY_KEY_BYTES,
  entryKey,
  entryRange,
  GROUP_RECORDS,
  GroupRecord,
  groupKey,
  indexOfEntryKey,
  parseRecordKey,
} from './raft-keys.js';
import { boundariesOf, readSmallLogs, type SmallLog } from './small-logs.js';

/** The log begins after this position. */
export type Truncated = InitialState['truncated'];

/** How far a group has applied its log, and where the log begins. */
export interface ApplyState {
  readonly applied: number;
  readonly truncated: Truncated;
}

/** What changed of a group; the fields left out stay as they are. */
export interface GroupState {
  readonly hardState?: HardState | undefined;
  readonly apply?: ApplyState | undefined;
  readonly confState?: ConfState | undefined;
}

/** A group as its store finds it at start. */
export interface StoredGroup {
  readonly initial: InitialState;
  /** Bytes of its log on disk, about. */
  readonly logBytes: number;
  /** There may be entries left of a log that was truncated. */
  readonly mayHoldOld: boolean;
}

/** Stale entries up to this many are deleted one by one, which costs readers less than a range. */
const SINGLE_DELETES = 64;
/** Entries looked at in one round of the search for term boundaries. */
const SAMPLES = 64;
/** Groups loaded side by side. */
const LOADED_AT_ONCE = 64;
const SCAN_KEYS = 1024;

const NO_HARD_STATE: HardState = { term: 0, vote: 0, commit: 0 };
const NO_CONF_STATE: ConfState = {
  voters: [],
  votersOutgoing: [],
  learners: [],
  learnersNext: [],
  autoLeave: false,
};
const NO_APPLY_STATE: ApplyState = { applied: 0, truncated: { index: 0, term: 0 } };

/** The Raft logs and states of all groups of a store, in the families `log` and `raft`. */
export class RaftLog {
  readonly #engine: Engine;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /**
   * Writes the first states of a group whose log begins after `start`; everything up to there counts as applied.
   * @param promised term and vote of a peer that was here before it knew its region: it keeps its word.
   */
  create(
    batch: WriteBatch,
    group: number,
    start: Truncated,
    confState: ConfState,
    promised: HardState = NO_HARD_STATE,
  ): void {
    const { term, vote } = promised.term >= start.term ? promised : { term: start.term, vote: 0 };
    this.saveState(batch, group, {
      hardState: { term, vote, commit: start.index },
      apply: { applied: start.index, truncated: start },
      confState,
    });
  }

  /** Terms and votes of groups, whatever else is known of them. @throws DecodeError */
  async hardStates(groups: readonly number[]): Promise<(HardState | undefined)[]> {
    const records = await this.#engine.multiGet(
      'raft',
      groups.map((group) => groupKey(group, GroupRecord.hardState)),
    );
    return records.map((record) => record && eraftpb.HardState.decode(record));
  }

  /**
   * Writes `entries` and removes what the log held behind them.
   * @param previousLastIndex the last index on disk before this write.
   * @throws StorageError `invalid-log` when the entries are not consecutive or would leave a hole.
   */
  append(batch: WriteBatch, group: number, entries: readonly Entry[], previousLastIndex: number): void {
    const first = entries[0];
    if (!first) return;
    if (first.index > previousLastIndex + 1) {
      throw invalidLog(group, `entry ${first.index} would leave a hole after ${previousLastIndex}`);
    }
    let index = first.index;
    for (const entry of entries) {
      if (entry.index !== index)
        throw invalidLog(group, `entry ${entry.index} stands where ${index} belongs`);
      batch.put('log', entryKey(group, index), encodeEntry(entry));
      index++;
    }
    if (previousLastIndex - index >= SINGLE_DELETES) {
      this.removeEntries(batch, group, index, previousLastIndex + 1);
    } else {
      for (; index <= previousLastIndex; index++) batch.delete('log', entryKey(group, index));
    }
  }

  /** Puts hard state and membership of a group into a batch. */
  saveState(batch: WriteBatch, group: number, state: GroupState): void {
    const { hardState, apply, confState } = state;
    if (hardState) {
      batch.put('raft', groupKey(group, GroupRecord.hardState), eraftpb.HardState.encode(hardState));
    }
    if (apply) {
      batch.put(
        'raft',
        groupKey(group, GroupRecord.applyState),
        raft_serverpb.RaftApplyState.encode({
          appliedIndex: apply.applied,
          truncatedState: apply.truncated,
        }),
      );
    }
    if (confState) {
      batch.put('raft', groupKey(group, GroupRecord.confState), eraftpb.ConfState.encode(confState));
    }
  }

  /** Removes the entries [low, high). The truncated state that makes them unreachable is saved before, or together. */
  removeEntries(batch: WriteBatch, group: number, low: number, high: number): void {
    if (low >= high) return;
    const { start, end } = entryRange(group, low, high);
    batch.deleteRange('log', start, end);
  }

  /** The log starts over behind a snapshot that takes the place of everything applied so far. */
  restart(batch: WriteBatch, group: number, start: Truncated, confState: ConfState): void {
    const { start: first, end } = entryRange(group);
    batch.deleteRange('log', first, end);
    this.saveState(batch, group, { apply: { applied: start.index, truncated: start }, confState });
  }

  /** Indexes of the entries that are on disk in [low, high): the first `limit` of them. */
  async indexes(group: number, low: number, high: number, limit: number): Promise<number[]> {
    const { keys } = await this.#engine.scan('log', {
      ...entryRange(group, low, high),
      limit,
      keysOnly: true,
    });
    return keys.map(indexOfEntryKey);
  }

  /** Bytes of the group's log on disk, roughly. */
  approximateBytes(group: number): Promise<number> {
    return this.#engine.approximateSize('log', entryRange(group));
  }

  /** Removes the log and all states of a group. */
  destroy(batch: WriteBatch, group: number): void {
    const { start, end } = entryRange(group);
    batch.deleteRange('log', start, end);
    for (const kind of Object.values(GroupRecord)) batch.delete('raft', groupKey(group, kind));
  }

  /**
   * What a peer knows at start; `undefined` for a group that this store never had.
   * @throws StorageError `invalid-log` when log and states contradict each other.
   */
  async load(group: number): Promise<InitialState | undefined> {
    const [hardState, applyState, confState] = await this.#engine.multiGet('raft', [
      groupKey(group, GroupRecord.hardState),
      groupKey(group, GroupRecord.applyState),
      groupKey(group, GroupRecord.confState),
    ]);
    if (!hardState && !applyState && !confState) return undefined;
    return this.#loadLog(group, decodeState(hardState, applyState, confState));
  }

  /** One group, as `loadAll` finds it. @throws StorageError `invalid-log` */
  async loadStored(group: number): Promise<StoredGroup | undefined> {
    const initial = await this.load(group);
    if (initial === undefined) return undefined;
    return { initial, logBytes: await this.approximateBytes(group), mayHoldOld: true };
  }

  /** Every group of the store, by id; small logs are read together. @throws StorageError `invalid-log` */
  async loadAll(): Promise<Map<number, StoredGroup>> {
    const states = await this.#loadStates();
    const { small, large } = await readSmallLogs(this.#engine);
    const loaded = new Map<number, StoredGroup>();
    const rest: number[] = [];
    for (const [group, state] of states) {
      const known = large.has(group) ? undefined : storedGroup(state, small.get(group) ?? NO_LOG);
      if (known === undefined) rest.push(group);
      else loaded.set(group, known);
    }
    for (let i = 0; i < rest.length; i += LOADED_AT_ONCE) {
      const together = rest.slice(i, i + LOADED_AT_ONCE);
      const groups = await Promise.all(together.map((group) => this.loadStored(group)));
      together.forEach((group, at) => {
        loaded.set(group, groups[at] as StoredGroup);
      });
    }
    return loaded;
  }

  async #loadStates(): Promise<Map<number, LoadedState>> {
    const states = new Map<number, LoadedState>();
    let group = -1;
    let records: (Uint8Array | undefined)[] = [];
    const close = () => {
      if (group >= 0) states.set(group, decodeState(...(records as [Uint8Array?, Uint8Array?, Uint8Array?])));
      records = [];
    };
    let start: Uint8Array = GROUP_RECORDS.start;
    for (;;) {
      const page = await this.#engine.scan('raft', { start, end: GROUP_RECORDS.end, limit: SCAN_KEYS });
      page.keys.forEach((key, i) => {
        const parsed = parseRecordKey(key);
        if (!parsed || !RECORD_ORDER.includes(parsed.kind)) return;
        if (parsed.id !== group) close();
        group = parsed.id;
        records[RECORD_ORDER.indexOf(parsed.kind)] = page.values[i];
      });
      const last = page.keys[page.keys.length - 1];
      if (!page.more || !last) break;
      start = Buffer.concat([last, Uint8Array.of(0)]);
    }
    close();
    return states;
  }

  /**
   * Entries from `low` on: as many of [low, high) as fit into `maxBytes` (keys and values on disk), but at least one.
   * @throws StorageError `invalid-log` when `low` is not in the log, or the log has a hole.
   */
  async fetch(group: number, low: number, high: number, maxBytes: number): Promise<Entry[]> {
    if (low >= high) return [];
    const { start, end } = entryRange(group, low, high);
    const { values } = await this.#engine.scan('log', {
      start,
      end,
      limit: high - low,
      maxBytes: Math.max(1, maxBytes),
    });
    const entries: Entry[] = [];
    let bytes = 0;
    for (const value of values) {
      bytes += ENTRY_KEY_BYTES + value.length;
      if (bytes > maxBytes && entries.length > 0) break;
      const entry = decodeEntry(value);
      if (entry.index !== low + entries.length) {
        throw invalidLog(group, `entry ${low + entries.length} is missing, ${entry.index} follows`);
      }
      entries.push(entry);
    }
    if (entries.length === 0) throw invalidLog(group, `entry ${low} is not in the log`);
    return entries;
  }

  async #loadLog(group: number, state: LoadedState): Promise<InitialState> {
    const { hardState, confState, applied, truncated } = state;
    const range = entryRange(group, truncated.index + 1);
    const tail = await this.#engine.scan('log', { ...range, reverse: true, limit: 1 });
    const [key] = tail.keys;
    const lastIndex = key ? indexOfEntryKey(key) : truncated.index;
    if (lastIndex < applied) {
      throw invalidLog(group, `the log ends at ${lastIndex}, but ${applied} is applied`);
    }
    if (lastIndex < hardState.commit) {
      throw invalidLog(group, `the log ends at ${lastIndex}, but ${hardState.commit} is committed`);
    }
    const terms = tail.values[0]
      ? await this.#terms(group, truncated.index + 1, decodeEntry(tail.values[0]))
      : [];
    return { hardState, confState, truncated, lastIndex, terms, entries: [], applied };
  }

  /** Where the terms change in [first, last.index], by narrowing down every stretch whose ends differ. */
  async #terms(group: number, first: number, last: Entry): Promise<TermBoundary[]> {
    const boundaries: TermBoundary[] = [{ term: await this.#termAt(group, first), index: first }];
    let open: Stretch[] = [
      { low: first, lowTerm: (boundaries[0] as TermBoundary).term, high: last.index, highTerm: last.term },
    ];
    while (open.length > 0) {
      const narrowed: Stretch[] = [];
      for (const stretch of open) {
        if (stretch.lowTerm > stretch.highTerm) {
          throw invalidLog(group, `the term falls between ${stretch.low} and ${stretch.high}`);
        }
        if (stretch.lowTerm === stretch.highTerm) continue;
        if (stretch.high === stretch.low + 1) {
          boundaries.push({ term: stretch.highTerm, index: stretch.high });
          continue;
        }
        narrowed.push(...(await this.#divide(group, stretch)));
      }
      open = narrowed;
    }
    return boundaries.sort((a, b) => a.index - b.index);
  }

  async #divide(group: number, { low, lowTerm, high, highTerm }: Stretch): Promise<Stretch[]> {
    const step = Math.max(1, Math.floor((high - low) / SAMPLES));
    const indexes: number[] = [];
    for (let index = low + step; index < high; index += step) indexes.push(index);
    const terms = await this.#termsAt(group, indexes);
    const parts: Stretch[] = [];
    let from = low;
    let fromTerm = lowTerm;
    [...indexes, high].forEach((index, i) => {
      const term = terms[i] ?? highTerm;
      parts.push({ low: from, lowTerm: fromTerm, high: index, highTerm: term });
      from = index;
      fromTerm = term;
    });
    return parts;
  }

  async #termAt(group: number, index: number): Promise<number> {
    return (await this.#termsAt(group, [index]))[0] as number;
  }

  async #termsAt(group: number, indexes: readonly number[]): Promise<number[]> {
    const values = await this.#engine.multiGet(
      'log',
      indexes.map((index) => entryKey(group, index)),
    );
    return values.map((value, i) => {
      if (!value) throw invalidLog(group, `entry ${indexes[i]} is missing`);
      return decodeEntry(value).term;
    });
  }
}

/** A part of a log whose ends are known. */
interface Stretch {
  readonly low: number;
  readonly lowTerm: number;
  readonly high: number;
  readonly highTerm: number;
}

interface LoadedState extends ApplyState {
  readonly hardState: HardState;
  readonly confState: ConfState;
}

const RECORD_ORDER: readonly number[] = [
  GroupRecord.hardState,
  GroupRecord.applyState,
  GroupRecord.confState,
];

function decodeState(hardState?: Uint8Array, applyState?: Uint8Array, confState?: Uint8Array): LoadedState {
  const apply = applyState && raft_serverpb.RaftApplyState.decode(applyState);
  return {
    hardState: hardState ? eraftpb.HardState.decode(hardState) : NO_HARD_STATE,
    confState: confState ? eraftpb.ConfState.decode(confState) : NO_CONF_STATE,
    applied: apply?.appliedIndex ?? NO_APPLY_STATE.applied,
    truncated: apply?.truncatedState ?? NO_APPLY_STATE.truncated,
  };
}

const NO_LOG: SmallLog = { indexes: [], terms: [], bytes: 0 };

/** `undefined` when log and states contradict each other: whoever loads the group alone says how. */
function storedGroup(state: LoadedState, log: SmallLog): StoredGroup | undefined {
  const { hardState, confState, applied, truncated } = state;
  const terms = boundariesOf(log, truncated.index);
  const lastIndex = Math.max(truncated.index, log.indexes.at(-1) ?? 0);
  if (terms === undefined || lastIndex < applied || lastIndex < hardState.commit) return undefined;
  const initial = { hardState, confState, truncated, lastIndex, terms, entries: [], applied };
  return { initial, logBytes: log.bytes, mayHoldOld: (log.indexes[0] ?? lastIndex + 1) <= truncated.index };
}

function invalidLog(group: number, what: string): StorageError {
  return new StorageError('invalid-log', `Raft group ${group}: ${what}.`);
}
