import { escapeKey, nameOfKey } from '../../../storage/keys.js';
import { TroupeError } from '../../errors.js';
import { kvrpcpb } from '../../proto/index.js';
import { existsError } from './key-errors.js';

export interface BufferLimits {
  /** Keys that one transaction writes or locks at most. */
  readonly maxKeys: number;
  /** Bytes of its keys and values at most. */
  readonly maxBytes: number;
}

/** What a transaction is going to do with a key. `insert` and `absent` demand that it has no value when it commits. */
type BufferedKind = 'put' | 'insert' | 'delete' | 'absent' | 'lock';

interface BufferedWrite {
  readonly kind: BufferedKind;
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

/** A key as the transaction has left it: `value` is `undefined` where it was removed. */
export interface BufferedEntry {
  readonly key: Uint8Array;
  readonly value: Uint8Array | undefined;
}

const EMPTY = new Uint8Array(0);

const OPERATIONS: Readonly<Record<BufferedKind, kvrpcpb.Op>> = {
  put: kvrpcpb.Op.Put,
  insert: kvrpcpb.Op.Insert,
  delete: kvrpcpb.Op.Del,
  absent: kvrpcpb.Op.CheckNotExists,
  lock: kvrpcpb.Op.Lock,
};

/**
 * What a transaction writes, until it commits. Each key comes once: the last write counts, and what an `insert` demands
 * stays demanded.
 */
export class WriteBuffer {
  readonly #limits: BufferLimits;
  /** By the key's bytes as latin1, whose order is that of the bytes. */
  readonly #writes = new Map<string, BufferedWrite>();
  /** The names in order, from the first scan on. */
  #sorted: string[] | undefined;
  #bytes = 0;

  constructor(limits: BufferLimits) {
    this.#limits = limits;
  }

  /** Keys written or locked. */
  get size(): number {
    return this.#writes.size;
  }

  /** Bytes of keys and values. */
  get bytes(): number {
    return this.#bytes;
  }

  /** What a read sees; `undefined` where the store is to be asked. */
  read(key: Uint8Array): BufferedEntry | undefined {
    const write = this.#writes.get(nameOfKey(key));
    return write === undefined || write.kind === 'lock' ? undefined : entryOf(write);
  }

  /** @throws TroupeError `invalid-argument` above a limit */
  put(key: Uint8Array, value: Uint8Array): void {
    const kind = this.#demandsAbsence(key) ? 'insert' : 'put';
    this.#set({ kind, key, value });
  }

  /** @throws TroupeError `conflict` where this transaction has given the key a value; `invalid-argument` above a limit */
  insert(key: Uint8Array, value: Uint8Array): void {
    const kind = this.#writes.get(nameOfKey(key))?.kind;
    if (kind === 'put' || kind === 'insert') throw existsError(key);
    // What it has removed itself is not there, whatever the store has.
    this.#set({ kind: kind === 'delete' ? 'put' : 'insert', key, value });
  }

  /** @throws TroupeError `invalid-argument` above a limit */
  delete(key: Uint8Array): void {
    this.#set({ kind: this.#demandsAbsence(key) ? 'absent' : 'delete', key, value: EMPTY });
  }

  /** Nobody else may write the key until this transaction commits. @throws TroupeError `invalid-argument` above a limit */
  lock(key: Uint8Array): void {
    if (!this.#writes.has(nameOfKey(key))) this.#set({ kind: 'lock', key, value: EMPTY });
  }

  /** What is written in [start, end), as it is now; ascending, or descending. `end` of `undefined` is the end of all keys. */
  range(start: Uint8Array, end: Uint8Array | undefined, reverse: boolean): BufferedEntry[] {
    this.#sorted ??= [...this.#writes.keys()].sort();
    const from = this.#indexOf(this.#sorted, nameOfKey(start));
    const to = end === undefined ? this.#sorted.length : this.#indexOf(this.#sorted, nameOfKey(end));
    const entries: BufferedEntry[] = [];
    for (const name of this.#sorted.slice(from, Math.max(from, to))) {
      const write = this.#writes.get(name);
      if (write !== undefined && write.kind !== 'lock') entries.push(entryOf(write));
    }
    return reverse ? entries.reverse() : entries;
  }

  /** In the order of the keys. */
  mutations(): kvrpcpb.Mutation[] {
    return [...this.#writes]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([, { kind, key, value }]) => ({ op: OPERATIONS[kind], key, value }));
  }

  #demandsAbsence(key: Uint8Array): boolean {
    const kind = this.#writes.get(nameOfKey(key))?.kind;
    return kind === 'insert' || kind === 'absent';
  }

  #set(write: BufferedWrite): void {
    const name = nameOfKey(write.key);
    const before = this.#writes.get(name);
    const bytes = this.#bytes + sizeOf(write) - (before === undefined ? 0 : sizeOf(before));
    const { maxKeys, maxBytes } = this.#limits;
    if (before === undefined && this.#writes.size >= maxKeys) {
      throw tooLarge(write.key, `${maxKeys} keys`);
    }
    if (bytes > maxBytes) throw tooLarge(write.key, `${maxBytes} bytes of keys and values`);
    this.#bytes = bytes;
    this.#writes.set(name, write);
    if (before === undefined) this.#sorted?.splice(this.#indexOf(this.#sorted, name), 0, name);
  }

  /** Of the first name that is not below `name`. */
  #indexOf(sorted: readonly string[], name: string): number {
    let low = 0;
    let high = sorted.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((sorted[middle] ?? '') < name) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function entryOf({ kind, key, value }: BufferedWrite): BufferedEntry {
  return { key, value: kind === 'put' || kind === 'insert' ? value : undefined };
}

function sizeOf({ key, value }: BufferedWrite): number {
  return key.length + value.length;
}

function tooLarge(key: Uint8Array, limit: string): TroupeError {
  return new TroupeError(
    'invalid-argument',
    `The transaction would be larger than ${limit} with key "${escapeKey(key)}": write less at once, or raise the limit (maxKeys, maxBytes).`,
  );
}
