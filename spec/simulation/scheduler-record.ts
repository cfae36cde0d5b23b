import type { ColumnFamily, Engine, WriteBatch } from '../../storage/index.js';
import { metapb } from '../../storage/proto/index.js';
import { ForwardingEngine } from './disk-record.js';

/** First byte of the records of regions in the scheduler's own state; 8 bytes of an id follow. */
const REGION_RECORD = 5;
const REGION_KEY_BYTES = 9;

/** Sees what a scheduler writes of regions. */
export function observeScheduler(engine: Engine, writes: (region: metapb.Region) => void): Engine {
  return new ObservedEngine(engine, writes);
}

/** The regions on a scheduler's disk. */
export async function schedulerRegions(engine: Engine): Promise<metapb.Region[]> {
  const { keys, values } = await engine.scan('default', { limit: Number.MAX_SAFE_INTEGER });
  return keys.flatMap((key, i) => regionOf(key, values[i]));
}

function regionOf(key: Uint8Array, value: Uint8Array | undefined): metapb.Region[] {
  if (value === undefined || key[0] !== REGION_RECORD || key.length !== REGION_KEY_BYTES) return [];
  return [metapb.Region.decode(value)];
}

class ObservedEngine extends ForwardingEngine {
  readonly #writes: (region: metapb.Region) => void;
  readonly #batches = new WeakMap<WriteBatch, metapb.Region[]>();

  constructor(inner: Engine, writes: (region: metapb.Region) => void) {
    super(inner);
    this.#writes = writes;
  }

  override batch(): WriteBatch {
    const batch = this.inner.batch();
    const regions: metapb.Region[] = [];
    const put = batch.put.bind(batch);
    batch.put = (cf: ColumnFamily, key: Uint8Array, value: Uint8Array) => {
      put(cf, key, value);
      if (cf === 'default') regions.push(...regionOf(key, value));
    };
    this.#batches.set(batch, regions);
    return batch;
  }

  override async write(batch: WriteBatch): Promise<void> {
    await this.inner.write(batch);
    for (const region of this.#batches.get(batch) ?? []) this.#writes(region);
  }
}
