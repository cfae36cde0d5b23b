import type { ColumnFamily, Engine, WriteBatch } from '../../storage/index.js';
import { metapb } from '../../storage/proto/index.js';
import { ForwardingEngine } from './disk-record.js';

/** First byte of the records of regions in the scheduler's own state; 8 bytes of an id follow. */
const REGION_RECORD = 5;
const REGION_KEY_BYTES = 9;

/** Is told what a scheduler does with its records of regions. */
export interface RegionRecords {
  wrote(region: metapb.Region): void;
  removed(regionId: number): void;
}

export function observeScheduler(engine: Engine, records: RegionRecords): Engine {
  return new ObservedEngine(engine, records);
}

/** The regions on a scheduler's disk. */
export async function schedulerRegions(engine: Engine): Promise<metapb.Region[]> {
  const { keys, values } = await engine.scan('default', { limit: Number.MAX_SAFE_INTEGER });
  return keys.flatMap((key, i) => regionOf(key, values[i]));
}

function regionOf(key: Uint8Array, value: Uint8Array | undefined): metapb.Region[] {
  return value === undefined || !isRegionKey(key) ? [] : [metapb.Region.decode(value)];
}

function isRegionKey(key: Uint8Array): boolean {
  return key[0] === REGION_RECORD && key.length === REGION_KEY_BYTES;
}

function numberOf(key: Uint8Array): number {
  return Number(Buffer.from(key).readBigUInt64BE(1));
}

class ObservedEngine extends ForwardingEngine {
  readonly #records: RegionRecords;
  /** What to tell of each batch, in its order. */
  readonly #batches = new WeakMap<WriteBatch, (() => void)[]>();

  constructor(inner: Engine, records: RegionRecords) {
    super(inner);
    this.#records = records;
  }

  override batch(): WriteBatch {
    const batch = this.inner.batch();
    const told: (() => void)[] = [];
    const put = batch.put.bind(batch);
    const remove = batch.delete.bind(batch);
    batch.put = (cf: ColumnFamily, key: Uint8Array, value: Uint8Array) => {
      put(cf, key, value);
      if (cf !== 'default') return;
      for (const region of regionOf(key, value)) told.push(() => this.#records.wrote(region));
    };
    batch.delete = (cf: ColumnFamily, key: Uint8Array) => {
      remove(cf, key);
      if (cf === 'default' && isRegionKey(key)) told.push(() => this.#records.removed(numberOf(key)));
    };
    this.#batches.set(batch, told);
    return batch;
  }

  override async write(batch: WriteBatch): Promise<void> {
    await this.inner.write(batch);
    for (const tell of this.#batches.get(batch) ?? []) tell();
  }
}
