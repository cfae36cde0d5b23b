/**
 * What the commands of a turn want to know, gathered and read together.
 *
 * Each command asks, waits for the round to be read, and looks at its answers; so the code of a command reads as if it
 * were alone, and a round costs a few native calls for all of them.
 */

import type { MvccReader, WriteQuery } from './reader.js';
import { type CommittedWrite, type Lock, MAX_TIMESTAMP, type Timestamp, type Write } from './types.js';

/** Stands when the round in which it was asked has been read. */
export interface Answer<T> {
  readonly value: T;
}

/** What became of a transaction at one key, as far as the write records tell. */
export type TxnRecord =
  | { readonly state: 'committed'; readonly commitTs: Timestamp }
  | { readonly state: 'rolled-back' }
  /** No record of it. */
  | {
      readonly state: 'none';
      /** What another transaction committed at this one's start timestamp, and stands where a rollback would. */
      readonly overlapping: CommittedWrite | undefined;
      /** The newest record below the start timestamp. */
      readonly previous: CommittedWrite | undefined;
    };

class OpenAnswer<T> implements Answer<T> {
  #value: T | undefined;
  #isKnown = false;

  get value(): T {
    if (!this.#isKnown) throw new Error('An answer was looked at before its round was read.');
    return this.#value as T;
  }

  set(value: T): void {
    this.#value = value;
    this.#isKnown = true;
  }
}

interface RecordQuestion {
  readonly stored: Uint8Array;
  readonly startTs: Timestamp;
  readonly candidate: Timestamp | undefined;
  readonly answer: OpenAnswer<TxnRecord>;
}

export class ReadPlan {
  readonly #reader: MvccReader;
  #locks: { readonly stored: Uint8Array; readonly answer: OpenAnswer<Lock | undefined> }[] = [];
  #seeks: WriteQuery[] = [];
  #records: RecordQuestion[] = [];

  constructor(reader: MvccReader) {
    this.#reader = reader;
  }

  lock(stored: Uint8Array): Answer<Lock | undefined> {
    const answer = new OpenAnswer<Lock | undefined>();
    this.#locks.push({ stored, answer });
    return answer;
  }

  /** The newest record of any kind at or below `from`. */
  newest(stored: Uint8Array, from: Timestamp): Answer<CommittedWrite | undefined> {
    return this.#first(stored, from, () => true);
  }

  /** The newest put or delete at or below `from`. */
  version(stored: Uint8Array, from: Timestamp): Answer<CommittedWrite | undefined> {
    return this.#first(stored, from, isVersion);
  }

  /** @param candidate the commit timestamp under which the record may stand: then it is found without a search. */
  record(stored: Uint8Array, startTs: Timestamp, candidate?: Timestamp): Answer<TxnRecord> {
    const answer = new OpenAnswer<TxnRecord>();
    this.#records.push({ stored, startTs, candidate, answer });
    return answer;
  }

  /** Reads what was asked since the last round. */
  async read(): Promise<void> {
    const [locks, seeks, records] = [this.#locks, this.#seeks, this.#records];
    this.#locks = [];
    this.#seeks = [];
    this.#records = [];
    await Promise.all([this.#readLocks(locks), this.#readRecords(records, seeks)]);
  }

  #first(stored: Uint8Array, from: Timestamp, wanted: (write: CommittedWrite) => boolean) {
    const answer = new OpenAnswer<CommittedWrite | undefined>();
    answer.set(undefined);
    this.#seeks.push({
      stored,
      from,
      take: (write) => {
        if (!wanted(write)) return false;
        answer.set(write);
        return true;
      },
    });
    return answer;
  }

  async #readLocks(
    questions: readonly { readonly stored: Uint8Array; readonly answer: OpenAnswer<Lock | undefined> }[],
  ): Promise<void> {
    const locks = await this.#reader.locks(questions.map(({ stored }) => stored));
    for (const [i, { answer }] of questions.entries()) answer.set(locks[i]);
  }

  async #readRecords(questions: readonly RecordQuestion[], seeks: WriteQuery[]): Promise<void> {
    const places = questions.flatMap(({ stored, startTs, candidate }) => [
      { stored, commitTs: startTs },
      { stored, commitTs: candidate ?? startTs },
    ]);
    const found = await this.#reader.writesAt(places);
    for (const [i, question] of questions.entries()) {
      const atStart = found[2 * i];
      const atCandidate = found[2 * i + 1];
      if (atCandidate && isOwnCommit(atCandidate, question.startTs)) {
        question.answer.set({ state: 'committed', commitTs: atCandidate.commitTs });
      } else if (atStart && isRollbackOf(atStart, question.startTs)) {
        question.answer.set({ state: 'rolled-back' });
      } else seeks.push(recordQuery(question));
    }
    if (seeks.length > 0) await this.#reader.seekWrites(seeks);
  }
}

export function isVersion(write: Write): boolean {
  return write.kind === 'put' || write.kind === 'delete';
}

function isOwnCommit(write: CommittedWrite, startTs: Timestamp): boolean {
  return write.startTs === startTs && write.kind !== 'rollback';
}

/** The record under a transaction's start timestamp says that it is rolled back. */
export function isRollbackOf(write: CommittedWrite, startTs: Timestamp): boolean {
  return write.commitTs === startTs && (write.kind === 'rollback' || write.hasOverlappedRollback);
}

/** Goes through the records from the newest to the one below the start timestamp: the transaction's may be any of them. */
function recordQuery({ stored, startTs, answer }: RecordQuestion): WriteQuery {
  let overlapping: CommittedWrite | undefined;
  answer.set({ state: 'none', overlapping: undefined, previous: undefined });
  return {
    stored,
    from: MAX_TIMESTAMP,
    take: (write) => {
      if (isOwnCommit(write, startTs)) {
        answer.set({ state: 'committed', commitTs: write.commitTs });
        return true;
      }
      if (write.commitTs > startTs) return false;
      if (write.commitTs === startTs) {
        overlapping = write;
        answer.set({ state: 'none', overlapping, previous: undefined });
        return false;
      }
      answer.set({ state: 'none', overlapping, previous: write });
      return true;
    },
  };
}
