import type { ColumnFamily, Engine, EngineSnapshot } from '../../storage/index.js';
import { decodeRawValue } from '../../storage/index.js';

/** Keys of all calls by family, so that a turn costs one native call a family. */
export class PointReads {
  readonly #keys = new Map<ColumnFamily, Uint8Array[]>();
  readonly #values = new Map<ColumnFamily, (Uint8Array | undefined)[]>();
  /** Keys in all. */
  size = 0;

  add(cf: ColumnFamily, key: Uint8Array): number {
    this.size++;
    const keys = this.#keys.get(cf);
    if (keys !== undefined) return keys.push(key) - 1;
    this.#keys.set(cf, [key]);
    return 0;
  }

  async fetch(engine: Engine, snapshot: EngineSnapshot): Promise<void> {
    for (const [cf, keys] of this.#keys) this.#values.set(cf, await engine.multiGet(cf, keys, snapshot));
  }

  value(cf: ColumnFamily, place: number): Uint8Array | undefined {
    const stored = this.#values.get(cf)?.[place];
    return stored === undefined ? undefined : decodeRawValue(stored).value;
  }
}
