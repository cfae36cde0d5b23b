/**
 * The raw operations on one node: user keys in, user values out.
 *
 * Changes that arrive while a batch is being made durable go together in the next one, in their order; one read fetches
 * what their comparisons need, and an overlay shows each the changes before it.
 */
import type { ColumnFamily, KeyRange, WriteBatch } from './engine.js';
import { compareBytes, equalBytes, nameOfKey, prefixEnd, rawKey, rawRange, userKey } from './keys.js';
import { decodeRawValue, encodeRawValue } from './raw-value.js';
import type { StandaloneStorage } from './standalone.js';

/** A key and its value. */
export interface RawPair {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

export interface RawScan extends KeyRange {
  readonly prefix?: Uint8Array;
  readonly limit: number;
  readonly reverse?: boolean;
  readonly keysOnly?: boolean;
  readonly maxBytes?: number;
}

/** What a compare-and-swap found, and whether it wrote. */
export interface CompareAndSwapResult {
  readonly swapped: boolean;
  /** What stood there before. */
  readonly previous: Uint8Array | undefined;
}

/** A change that waits for its batch. */
interface Pending {
  /** The stored key that it compares with. */
  readonly compares: Uint8Array | undefined;
  readonly cf: ColumnFamily;
  /** Adds to the batch; the outcome is answered when the batch is durable. */
  readonly evaluate: (batch: WriteBatch, overlay: Overlay) => void;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** Raw operations on a store without Raft; those of one moment share a batch and a sync. */
export class RawOperations {
  readonly #storage: StandaloneStorage;
  #pending: Pending[] = [];
  #committing = false;

  constructor(storage: StandaloneStorage) {
    this.#storage = storage;
  }

  /** @throws StorageError `invalid-key` */
  async get(key: Uint8Array, cf: ColumnFamily = 'default'): Promise<Uint8Array | undefined> {
    return (await this.batchGet([key], cf))[0];
  }

  /** One value per key, in order. @throws StorageError `invalid-key` */
  async batchGet(
    keys: readonly Uint8Array[],
    cf: ColumnFamily = 'default',
  ): Promise<(Uint8Array | undefined)[]> {
    const stored = await this.#storage.engine.multiGet(cf, keys.map(rawKey));
    return stored.map((value) => value && decodeRawValue(value).value);
  }

  /** Sets a value; durable when it resolves. */
  put(key: Uint8Array, value: Uint8Array, cf: ColumnFamily = 'default'): Promise<void> {
    return this.batchPut([{ key, value }], cf);
  }

  /** All pairs or none. @throws StorageError `invalid-key` */
  async batchPut(pairs: readonly RawPair[], cf: ColumnFamily = 'default'): Promise<void> {
    const stored = pairs.map(({ key, value }) => ({ key: rawKey(key), value: encodeRawValue(value) }));
    await this.#change(cf, undefined, (batch, overlay) => {
      for (const { key, value } of stored) overlay.put(batch, cf, key, value);
    });
  }

  /** Removes a key, whether it is there or not; durable when it resolves. */
  delete(key: Uint8Array, cf: ColumnFamily = 'default'): Promise<void> {
    return this.batchDelete([key], cf);
  }

  /** @throws StorageError `invalid-key` */
  async batchDelete(keys: readonly Uint8Array[], cf: ColumnFamily = 'default'): Promise<void> {
    const stored = keys.map(rawKey);
    await this.#change(cf, undefined, (batch, overlay) => {
      for (const key of stored) overlay.delete(batch, cf, key);
    });
  }

  /** Removes [start, end); absent bounds are open. */
  async deleteRange({ start, end }: KeyRange, cf: ColumnFamily = 'default'): Promise<void> {
    const range = rawRange(start, end);
    await this.#change(cf, undefined, (batch, overlay) =>
      overlay.deleteRange(batch, cf, range.start, range.end),
    );
  }

  /**
   * Puts `value` if the key holds `expected` (`undefined`: if it is absent).
   * @throws StorageError `invalid-key`
   */
  async compareAndSwap(
    key: Uint8Array,
    expected: Uint8Array | undefined,
    value: Uint8Array,
    cf: ColumnFamily = 'default',
  ): Promise<CompareAndSwapResult> {
    const stored = rawKey(key);
    const encoded = encodeRawValue(value);
    let result: CompareAndSwapResult = { swapped: false, previous: undefined };
    await this.#change(cf, stored, (batch, overlay) => {
      const found = overlay.get(cf, stored);
      const previous = found && decodeRawValue(found).value;
      const swapped = previous && expected ? equalBytes(previous, expected) : previous === expected;
      result = { swapped, previous };
      if (swapped) overlay.put(batch, cf, stored, encoded);
    });
    return result;
  }

  /** Pairs of [start, end), or of a prefix, in order or against it. */
  async scan(
    options: RawScan,
    cf: ColumnFamily = 'default',
  ): Promise<{ readonly pairs: RawPair[]; readonly more: boolean }> {
    const { prefix, start, end, ...bounds } = options;
    const range = prefix?.length ? rawRange(prefix, prefixEnd(prefix)) : rawRange(start, end);
    const { keys, values, more } = await this.#storage.engine.scan(cf, { ...range, ...bounds });
    const pairs = keys.map((key, i) => {
      const value = values[i] as Uint8Array;
      return { key: userKey(key).key, value: options.keysOnly ? value : decodeRawValue(value).value };
    });
    return { pairs, more };
  }

  #change(
    cf: ColumnFamily,
    compares: Uint8Array | undefined,
    evaluate: (batch: WriteBatch, overlay: Overlay) => void,
  ): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#pending.push({ cf, compares, evaluate, resolve, reject });
      if (!this.#committing) void this.#commitAll();
    });
  }

  async #commitAll(): Promise<void> {
    this.#committing = true;
    // Everything that this turn of the loop still brings goes into the first batch.
    await Promise.resolve();
    while (this.#pending.length > 0) {
      const together = this.#pending.splice(0);
      try {
        const overlay = await this.#overlayFor(together);
        const batch = this.#storage.engine.batch();
        for (const pending of together) {
          const { count } = batch;
          try {
            pending.evaluate(batch, overlay);
          } catch (error) {
            // Its own mistake; the others are written.
            batch.truncate(count);
            pending.reject(error);
          }
        }
        await this.#storage.commit(batch);
        for (const pending of together) pending.resolve();
      } catch (error) {
        for (const pending of together) pending.reject(error);
      }
    }
    this.#committing = false;
  }

  /** Reads what the comparisons of a batch need. */
  async #overlayFor(together: readonly Pending[]): Promise<Overlay> {
    const overlay = new Overlay();
    const byFamily = new Map<ColumnFamily, Uint8Array[]>();
    for (const { cf, compares } of together) {
      if (!compares) continue;
      const keys = byFamily.get(cf);
      if (keys) keys.push(compares);
      else byFamily.set(cf, [compares]);
    }
    for (const [cf, keys] of byFamily) {
      const values = await this.#storage.engine.multiGet(cf, keys);
      keys.forEach((key, i) => {
        overlay.know(cf, key, values[i]);
      });
    }
    return overlay;
  }
}

/** What the keys that are compared hold, with the changes of the batch so far. */
class Overlay {
  readonly #known = new Map<
    string,
    { readonly cf: ColumnFamily; readonly key: Uint8Array; value: Uint8Array | undefined }
  >();

  know(cf: ColumnFamily, key: Uint8Array, value: Uint8Array | undefined): void {
    this.#known.set(name(cf, key), { cf, key, value });
  }

  get(cf: ColumnFamily, key: Uint8Array): Uint8Array | undefined {
    return this.#known.get(name(cf, key))?.value;
  }

  put(batch: WriteBatch, cf: ColumnFamily, key: Uint8Array, value: Uint8Array): void {
    batch.put(cf, key, value);
    this.#set(cf, key, value);
  }

  delete(batch: WriteBatch, cf: ColumnFamily, key: Uint8Array): void {
    batch.delete(cf, key);
    this.#set(cf, key, undefined);
  }

  deleteRange(batch: WriteBatch, cf: ColumnFamily, start: Uint8Array, end: Uint8Array): void {
    batch.deleteRange(cf, start, end);
    for (const known of this.#known.values()) {
      if (known.cf === cf && compareBytes(known.key, start) >= 0 && compareBytes(known.key, end) < 0) {
        known.value = undefined;
      }
    }
  }

  #set(cf: ColumnFamily, key: Uint8Array, value: Uint8Array | undefined): void {
    if (this.#known.size === 0) return;
    const known = this.#known.get(name(cf, key));
    if (known) known.value = value;
  }
}

function name(cf: ColumnFamily, key: Uint8Array): string {
  return `${cf}/${nameOfKey(key)}`;
}
