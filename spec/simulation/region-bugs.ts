import type { ColumnFamily, Engine, EngineSnapshot, WriteBatch } from '../../storage/index.js';
import { raft_serverpb } from '../../storage/proto/index.js';
import { GroupRecord, groupKey, parseRecordKey, regionStateKey } from '../../storage/raft-keys.js';
import { ForwardingEngine } from './disk-record.js';

/** Mistakes with regions, put between a store and its disk. */

export function losingSplitVersions(engine: Engine): Engine {
  return new BatchChanging(engine, keepVersions);
}

export function keepingRemovedData(engine: Engine): Engine {
  return new BatchChanging(engine, keepData);
}

export function missingPromises(engine: Engine): Engine {
  return new PromiseMissing(engine);
}

class BatchChanging extends ForwardingEngine {
  readonly #change: (batch: WriteBatch) => void;

  constructor(inner: Engine, change: (batch: WriteBatch) => void) {
    super(inner);
    this.#change = change;
  }

  override batch(): WriteBatch {
    const batch = this.inner.batch();
    this.#change(batch);
    return batch;
  }
}

const REGION_STATE = kindOf(regionStateKey(1));
const HARD_STATE = kindOf(groupKey(1, GroupRecord.hardState));

/** What tells a record of one kind from all others: the space and the kind in its key. */
function kindOf(key: Uint8Array): string {
  return `${key[1]} ${parseRecordKey(key)?.kind}`;
}

/** The state of a region is written with the version before the one that a split gave it. */
function keepVersions(batch: WriteBatch): void {
  const put = batch.put.bind(batch);
  batch.put = (cf: ColumnFamily, key: Uint8Array, value: Uint8Array) => {
    if (cf !== 'raft' || kindOf(key) !== REGION_STATE) return put(cf, key, value);
    const state = raft_serverpb.RegionLocalState.decode(value);
    const { region, mergeState } = state;
    const { confVer = 0, version = 0 } = region?.regionEpoch ?? {};
    const isNormal = state.state === raft_serverpb.PeerState.Normal && mergeState === undefined;
    if (!isNormal || region === undefined || version < 2) return put(cf, key, value);
    const older = { ...region, regionEpoch: { confVer, version: version - 1 } };
    return put(cf, key, raft_serverpb.RegionLocalState.encode({ ...state, region: older }));
  };
}

/** Keys that are to go with a group's log and states stay. */
function keepData(batch: WriteBatch): void {
  const remove = batch.delete.bind(batch);
  const deleteRange = batch.deleteRange.bind(batch);
  let ends = false;
  batch.delete = (cf: ColumnFamily, key: Uint8Array) => {
    if (cf === 'raft' && kindOf(key) === HARD_STATE) ends = true;
    remove(cf, key);
  };
  batch.deleteRange = (cf: ColumnFamily, start: Uint8Array, end: Uint8Array) => {
    if (!ends || cf === 'log' || cf === 'raft') deleteRange(cf, start, end);
  };
}

/** Who asks for nothing but hard states wants to know what was promised in a place. */
class PromiseMissing extends ForwardingEngine {
  override async multiGet(cf: ColumnFamily, keys: readonly Uint8Array[], snapshot?: EngineSnapshot) {
    const values = await this.inner.multiGet(cf, keys, snapshot);
    if (cf !== 'raft' || !keys.every((key) => kindOf(key) === HARD_STATE)) return values;
    return values.map(() => undefined);
  }
}
