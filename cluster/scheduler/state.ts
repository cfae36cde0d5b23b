import type { Entry } from '../../machines/raft/types.js';
import type { ClusterPhase } from '../../machines/scheduler.machine.js';
import type { Engine, WriteBatch } from '../../storage/index.js';
import { metapb } from '../../storage/proto/index.js';
import { pdpb, troupepb } from '../proto/index.js';
import type { ApplyEffects } from '../raft/state-machine.js';
import { RegionTree, staleness } from '../region-tree.js';
import { PlacementRecord } from './placement-record.js';
import { type Refusal, register } from './registration.js';
import { MAX_SERVICES, SafePointRecord } from './safe-point-record.js';

/** The newest command that this version understands. */
export const SCHEDULER_COMMAND_VERSION = 1;

/** Ids below are for the first region and its peers, so that those do not depend on a window. */
const FIRST_FREE_ID = 1000;
/** Regions known at most: their descriptors are about 1 GB. */
const MAX_REGIONS = 1_000_000;
/** Ids of merged regions kept at most; the smallest go first. */
const MAX_MERGED = 1_000_000;

/** What a command did. */
export type CommandResult =
  | {
      readonly ok: true;
      readonly store?: metapb.Store;
      readonly firstId?: number;
      /** Of a service safe point: it holds, or needed not to; else it came too late. */
      readonly held?: boolean;
    }
  | { readonly ok: false; readonly refusal: Refusal };

const DONE: CommandResult = { ok: true };

/** What becomes of a node when it is decided of its store. */
const NODE_STATES: Readonly<Partial<Record<metapb.StoreState, metapb.NodeState>>> = {
  [metapb.StoreState.Up]: metapb.NodeState.Serving,
  [metapb.StoreState.Offline]: metapb.NodeState.Removing,
  [metapb.StoreState.Tombstone]: metapb.NodeState.Removed,
};

/** The kinds of commands; each names one field of troupepb.SchedulerCommand. */
export type Command = Omit<troupepb.SchedulerCommand, 'version'>;

type LogEffects = Pick<ApplyEffects, 'truncateLog'>;

export function encodeCommand(command: Command): Uint8Array {
  return troupepb.SchedulerCommand.encode({ ...command, version: SCHEDULER_COMMAND_VERSION });
}

/**
 * What the schedulers replicate: the cluster, its stores, ids and region descriptors. Applying a command depends on
 * nothing but the state and the command. Every change is written with the batch of the entries that made it.
 */
export class SchedulerState {
  cluster: troupepb.InitializeCluster | undefined;
  /** The first id that no window has covered. */
  nextId = FIRST_FREE_ID;
  /** Unix milliseconds; timestamps below may have been handed out. */
  timestampLimit = 0;
  readonly stores = new Map<number, metapb.Store>();
  readonly regions = new RegionTree();
  /** Ids of regions that were merged into others: none of their peers is wanted any more. */
  readonly merged = new Set<number>();
  /** The region that the cluster began with, as it was then. */
  firstRegion: metapb.Region | undefined;
  /** Stores that have made the first region durable. */
  readonly confirmed = new Set<number>();
  /** What was set of placement at run time. */
  readonly placement = new PlacementRecord({
    setting: (name) => wordKey(Kind.setting, name),
    scheduler: (name) => wordKey(Kind.scheduler, name),
    storeLimit: (id) => recordKey(Kind.storeLimit, id),
  });
  /** What of the past is still to be seen. */
  readonly safePoints = new SafePointRecord({
    safePoints: SAFE_POINTS_KEY,
    service: (id) => Buffer.concat([Uint8Array.of(Kind.serviceSafePoint), id]),
  });
  /** Told of regions that had to go because others cover them now. */
  regionGone: ((id: number) => void) | undefined;

  /** @throws DecodeError when the records are not this program's */
  static async load(engine: Engine): Promise<SchedulerState> {
    const state = new SchedulerState();
    await state.load(engine);
    return state;
  }

  /** Becomes what the engine holds, whatever it was. @throws DecodeError when the records are not this program's */
  async load(engine: Engine): Promise<void> {
    this.#clear();
    let start: Uint8Array = new Uint8Array(0);
    for (;;) {
      const page = await engine.scan('default', { start, limit: 1024 });
      for (let i = 0; i < page.keys.length; i++) {
        const [key, value] = [page.keys[i], page.values[i]];
        if (key !== undefined && value !== undefined) this.#restore(key, value);
      }
      const last = page.keys.at(-1);
      if (!page.more || last === undefined) return;
      start = Buffer.concat([last, Uint8Array.of(0)]);
    }
  }

  #clear(): void {
    this.cluster = undefined;
    this.nextId = FIRST_FREE_ID;
    this.timestampLimit = 0;
    this.firstRegion = undefined;
    const { stores, regions, merged, confirmed, placement, safePoints } = this;
    for (const records of [stores, regions, merged, confirmed, placement, safePoints]) records.clear();
  }

  get phase(): ClusterPhase {
    if (this.regions.size === 0) return 'collecting';
    return this.unconfirmed.length > 0 ? 'bootstrapping' : 'serving';
  }

  /** Peers of the first region whose stores have not confirmed it. */
  get unconfirmed(): readonly metapb.Peer[] {
    return this.firstRegion?.peers.filter((peer) => !this.confirmed.has(peer.storeId)) ?? [];
  }

  /** Why a region descriptor is not to be believed; `undefined` when it is. */
  staleness(region: metapb.Region): string | undefined {
    if (this.merged.has(region.id)) return `region ${region.id} was merged into another`;
    return staleness(this.regions, region);
  }

  /** Applies committed entries in order; one result each. @throws when an entry is of an unknown kind or version */
  apply(entries: readonly Entry[], batch: WriteBatch, effects?: LogEffects): (CommandResult | undefined)[] {
    return entries.map(({ data, index }) => {
      if (data.length === 0) return undefined;
      const command = decodeCommand(data);
      return command.compactLog === undefined
        ? this.#apply(command, batch)
        : compactLog(command.compactLog, index, effects);
    });
  }

  #apply(command: Command, batch: WriteBatch): CommandResult {
    const {
      initializeCluster,
      allocateIds,
      registerStore,
      placeFirstRegion,
      confirmFirstRegion,
      putRegions,
      extendTimestamps,
      noteMerged,
      putServiceSafePoint,
      advanceSafePoints,
    } = command;
    const placed = this.#place(command, batch);
    if (placed !== undefined) return placed;
    if (initializeCluster !== undefined) return this.#initialize(initializeCluster, batch);
    if (allocateIds !== undefined) return this.#allocateIds(allocateIds.count, batch);
    if (registerStore?.store !== undefined) return this.#register(registerStore.store, batch);
    if (placeFirstRegion?.region !== undefined) return this.#placeFirstRegion(placeFirstRegion.region, batch);
    if (confirmFirstRegion !== undefined) return this.#confirm(confirmFirstRegion.storeId, batch);
    if (putRegions !== undefined) return this.#putRegions(putRegions.regions, batch);
    if (extendTimestamps !== undefined) return this.#extendTimestamps(extendTimestamps.physicalLimit, batch);
    if (noteMerged !== undefined) return this.#noteMerged(noteMerged.regionIds, batch);
    if (putServiceSafePoint !== undefined) return this.#putServiceSafePoint(putServiceSafePoint, batch);
    if (advanceSafePoints !== undefined) {
      this.safePoints.advance(advanceSafePoints, batch);
      return DONE;
    }
    throw new Error('a replicated command of the scheduler is of an unknown kind: start a newer version');
  }

  #place(command: Command, batch: WriteBatch): CommandResult | undefined {
    const { putSetting, putScheduler, setStoreState, setStoreLabels, setStoreLimit } = command;
    if (putSetting !== undefined) this.placement.putSetting(putSetting, batch);
    else if (putScheduler !== undefined) this.placement.putScheduler(putScheduler, batch);
    else if (setStoreLimit !== undefined) this.placement.putStoreLimit(setStoreLimit, batch);
    else if (setStoreState !== undefined) {
      const { storeId, state } = setStoreState;
      const nodeState = NODE_STATES[state];
      return this.#alterStore(storeId, { state, ...(nodeState === undefined ? {} : { nodeState }) }, batch);
    } else if (setStoreLabels !== undefined)
      return this.#alterStore(setStoreLabels.storeId, { labels: setStoreLabels.labels }, batch);
    else return undefined;
    return DONE;
  }

  /** One that is gone for good stays so. */
  #alterStore(id: number, change: Partial<metapb.Store>, batch: WriteBatch): CommandResult {
    const known = this.stores.get(id);
    if (known === undefined || known.state === metapb.StoreState.Tombstone) {
      const message = `There is no store ${id} that could be changed: \`troupe store list\` shows them.`;
      return { ok: false, refusal: { type: pdpb.ErrorType.ENTRY_NOT_FOUND, message } };
    }
    const store = { ...known, ...change };
    this.stores.set(id, store);
    batch.put('default', recordKey(Kind.store, id), metapb.Store.encode(store));
    return { ok: true, store };
  }

  /** Repeats keep the cluster's identity; only the number of first stores may still change before they are chosen. */
  #initialize(asked: troupepb.InitializeCluster, batch: WriteBatch): CommandResult {
    const { cluster } = this;
    if (cluster !== undefined && this.regions.size > 0) return DONE;
    this.cluster = cluster === undefined ? asked : { ...cluster, expectedStores: asked.expectedStores };
    batch.put('default', CLUSTER_KEY, troupepb.InitializeCluster.encode(this.cluster));
    return DONE;
  }

  #allocateIds(count: number, batch: WriteBatch): CommandResult {
    const firstId = this.nextId;
    this.nextId += count;
    batch.put('default', NEXT_ID_KEY, number64(this.nextId));
    return { ok: true, firstId };
  }

  #register(asked: metapb.Store, batch: WriteBatch): CommandResult {
    const registration = register(this.stores, asked);
    if (!registration.ok) return registration;
    this.stores.set(registration.store.id, registration.store);
    batch.put(
      'default',
      recordKey(Kind.store, registration.store.id),
      metapb.Store.encode(registration.store),
    );
    return registration;
  }

  #placeFirstRegion(region: metapb.Region, batch: WriteBatch): CommandResult {
    if (this.firstRegion !== undefined) return DONE;
    this.firstRegion = region;
    batch.put('default', FIRST_REGION_KEY, metapb.Region.encode(region));
    this.#putRegion(region, batch);
    return DONE;
  }

  #confirm(storeId: number, batch: WriteBatch): CommandResult {
    this.confirmed.add(storeId);
    batch.put('default', recordKey(Kind.confirmed, storeId), new Uint8Array(0));
    return DONE;
  }

  #putRegions(regions: readonly metapb.Region[], batch: WriteBatch): CommandResult {
    const strangers = regions.filter(({ id }) => this.regions.get(id) === undefined).length;
    if (strangers > 0 && this.regions.size + strangers > MAX_REGIONS) {
      const message = `The cluster has ${this.regions.size} regions, which is the most its scheduler keeps.`;
      return { ok: false, refusal: { type: pdpb.ErrorType.INVALID_VALUE, message } };
    }
    const gone = new Set<number>();
    for (const region of regions) {
      if (this.staleness(region) !== undefined) continue;
      for (const id of this.#putRegion(region, batch)) gone.add(id);
    }
    // A new part may come before the region that it was split off: that one is not gone.
    for (const id of gone) if (this.regions.get(id) === undefined) this.regionGone?.(id);
    return DONE;
  }

  /** The limit only grows: what an earlier leader proposed may come late. */
  #extendTimestamps(limit: number, batch: WriteBatch): CommandResult {
    if (limit <= this.timestampLimit) return DONE;
    this.timestampLimit = limit;
    batch.put('default', TIMESTAMP_LIMIT_KEY, number64(limit));
    return DONE;
  }

  #noteMerged(ids: readonly number[], batch: WriteBatch): CommandResult {
    for (const id of ids) {
      if (this.merged.has(id)) continue;
      this.merged.add(id);
      batch.put('default', recordKey(Kind.merged, id), new Uint8Array(0));
    }
    if (this.merged.size > MAX_MERGED) this.#forgetMerged(batch);
    return DONE;
  }

  #putServiceSafePoint(asked: troupepb.PutServiceSafePoint, batch: WriteBatch): CommandResult {
    const result = this.safePoints.put(asked, batch);
    if (result !== 'full') return { ok: true, held: result === 'put' };
    const message = `${MAX_SERVICES} services hold the safe points back already, which is the most: \`troupe gc status\` shows the earliest.`;
    return { ok: false, refusal: { type: pdpb.ErrorType.INVALID_VALUE, message } };
  }

  /** The smallest ids, which every member agrees on whenever it was started; many at once, for they have to be sorted. */
  #forgetMerged(batch: WriteBatch): void {
    const oldest = [...this.merged].sort((a, b) => a - b).slice(0, MAX_MERGED / 10);
    for (const id of oldest) {
      this.merged.delete(id);
      batch.delete('default', recordKey(Kind.merged, id));
    }
  }

  /** @returns ids of those that it covers now */
  #putRegion(region: metapb.Region, batch: WriteBatch): number[] {
    const covered = this.regions.put(region).map(({ id }) => id);
    for (const id of covered) batch.delete('default', recordKey(Kind.region, id));
    batch.put('default', recordKey(Kind.region, region.id), metapb.Region.encode(region));
    return covered;
  }

  #restore(key: Uint8Array, value: Uint8Array): void {
    switch (key[0]) {
      case Kind.cluster:
        this.cluster = troupepb.InitializeCluster.decode(value);
        break;
      case Kind.nextId:
        this.nextId = numberOf(value);
        break;
      case Kind.timestampLimit:
        this.timestampLimit = numberOf(value);
        break;
      case Kind.firstRegion:
        this.firstRegion = metapb.Region.decode(value);
        break;
      case Kind.store: {
        const store = metapb.Store.decode(value);
        this.stores.set(store.id, store);
        break;
      }
      case Kind.region:
        this.regions.put(metapb.Region.decode(value));
        break;
      case Kind.confirmed:
        this.confirmed.add(numberOf(key.subarray(1)));
        break;
      case Kind.merged:
        this.merged.add(numberOf(key.subarray(1)));
        break;
      case Kind.setting:
        this.placement.putSetting(troupepb.PutSetting.decode(value));
        break;
      case Kind.scheduler:
        this.placement.putScheduler(troupepb.PutScheduler.decode(value));
        break;
      case Kind.storeLimit:
        this.placement.putStoreLimit(troupepb.SetStoreLimit.decode(value));
        break;
      case Kind.safePoints:
        this.safePoints.restore(troupepb.SafePoints.decode(value));
        break;
      case Kind.serviceSafePoint:
        this.safePoints.restoreService(troupepb.PutServiceSafePoint.decode(value));
        break;
      default:
        throw new Error(`the scheduler's data directory holds a record of unknown kind ${key[0]}`);
    }
  }
}

/** Nothing of the state: where the log begins is the host's. */
function compactLog(to: troupepb.CompactLog, index: number, effects: LogEffects | undefined): CommandResult {
  if (to.index >= index) throw new Error(`entry ${index} cuts the schedulers' log at or beyond itself`);
  effects?.truncateLog(to);
  return DONE;
}

function decodeCommand(data: Uint8Array): Command {
  const command = troupepb.SchedulerCommand.decode(data);
  if (command.version > SCHEDULER_COMMAND_VERSION) {
    throw new Error(
      `a replicated command of the scheduler has version ${command.version}, this program knows up to ${SCHEDULER_COMMAND_VERSION}: start a newer version`,
    );
  }
  return command;
}

/** First bytes of the records in the `default` family; ids follow as 8 bytes, big endian. */
const Kind = {
  cluster: 1,
  nextId: 2,
  firstRegion: 3,
  store: 4,
  region: 5,
  confirmed: 6,
  merged: 7,
  setting: 9,
  scheduler: 10,
  storeLimit: 11,
  timestampLimit: 8,
  safePoints: 12,
  serviceSafePoint: 13,
} as const;

const CLUSTER_KEY = Uint8Array.of(Kind.cluster);
const NEXT_ID_KEY = Uint8Array.of(Kind.nextId);
const TIMESTAMP_LIMIT_KEY = Uint8Array.of(Kind.timestampLimit);
const SAFE_POINTS_KEY = Uint8Array.of(Kind.safePoints);
const FIRST_REGION_KEY = Uint8Array.of(Kind.firstRegion);

function wordKey(kind: number, word: string): Uint8Array {
  return Buffer.concat([Uint8Array.of(kind), Buffer.from(word)]);
}

function recordKey(kind: number, id: number): Uint8Array {
  return Buffer.concat([Uint8Array.of(kind), number64(id)]);
}

function number64(value: number): Uint8Array {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(value));
  return bytes;
}

function numberOf(bytes: Uint8Array): number {
  return Number(new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0));
}
