import { type Clock, isName, roleOf } from '../../actors/index.js';
import { metapb } from '../../storage/proto/index.js';
import type { Collector } from '../gc/index.js';
import { pdpb, type troupepb } from '../proto/index.js';
import type { Protocol, ProtocolEvent } from '../protocol.js';
import { REGION_STATES } from '../region-states.js';
import { malformation } from '../region-tree.js';
import { MAX_TIMESTAMPS_AT_ONCE } from '../timestamp.js';
import { SchedulerFault } from './fault.js';
import type { IdWindow } from './id-window.js';
import { OperatorRequests } from './operator-requests.js';
import { isLabel } from './placement/config.js';
import type { Placement } from './placement/index.js';
import { NO_FLOW } from './placement/region-report.js';
import { RegionHeartbeats } from './region-heartbeats.js';
import { byName, overtaken, retired } from './registration.js';
import { SafePointRequests } from './safe-point-requests.js';
import type { Command, CommandResult, SchedulerState } from './state.js';
import { Steering } from './steering.js';
import { DISCONNECTED_AFTER_MS, type StoreWatch } from './store-watch.js';

export type SchedulerKind = Extract<keyof Protocol, `pd.${string}`>;
type Request<K extends SchedulerKind> = ProtocolEvent<K> & { readonly sender?: string };
type Reply<K extends SchedulerKind> = Protocol[K]['reply'];
type Handlers = { readonly [K in SchedulerKind]: (request: Request<K>) => Reply<K> | Promise<Reply<K>> };

const { ErrorType } = pdpb;

export interface ServiceOptions {
  readonly cluster: string;
  readonly state: SchedulerState;
  readonly watch: StoreWatch;
  readonly ids: IdWindow;
  /**
   * The first of so many consecutive timestamps, under leadership confirmed after the call.
   * @throws SchedulerFault `NOT_LEADER` when it cannot
   */
  readonly timestamps: (count: number) => Promise<pdpb.Timestamp>;
  readonly clock: Clock;
  /** Unix milliseconds. */
  readonly wallClock: () => number;
  /** Replicates a command. @throws SchedulerFault `NOT_LEADER` when it cannot */
  readonly propose: (command: Command) => Promise<CommandResult>;
  readonly members: () => {
    readonly members: readonly pdpb.Member[];
    readonly leader: pdpb.Member | undefined;
  };
  /** Of this leadership. */
  readonly term: () => number;
  /** A store registered, or showed that it has its identity. */
  readonly storeJoined: () => void;
  readonly placement: Placement;
  readonly collector: Pick<Collector, 'run' | 'tick' | 'told'>;
}

/** Characters of a store's version and labels. */
const MAX_DESCRIPTION_LENGTH = 256;
const MAX_IDS_AT_ONCE = 10_000;
const MAX_MERGED_AT_ONCE = 1_000;
/** Parts that one split may make beside the one that keeps the region's id. */
const MAX_SPLIT_PARTS = 256;
/** Regions that are told when somebody asks for those in one state. */
const MAX_FOUND = 1_000;
/** Bytes of region descriptors in one reply; the rest is asked for with the next request. */
const MAX_REGION_BYTES = 256 * 1024;

/**
 * The scheduler's requests, as its leader answers them. Requests are checked here, before anything is replicated.
 */
export class SchedulerService {
  readonly #options: ServiceOptions;
  readonly #steering: Steering;
  readonly #operators: OperatorRequests;
  readonly #heartbeats: RegionHeartbeats;
  readonly #safePoints: SafePointRequests;

  constructor(options: ServiceOptions) {
    this.#options = options;
    const { placement, watch, clock } = options;
    options.state.regionGone = (id) => placement.regionGone(id);
    this.#steering = new Steering({
      ...options,
      storeDecided: (store) => watch.decided(store, clock.now()),
    });
    this.#operators = new OperatorRequests(placement);
    this.#safePoints = new SafePointRequests(options);
    this.#heartbeats = new RegionHeartbeats({ ...options, mustKnow: (id) => void this.#knownStore(id) });
  }

  /** Answers one request. @throws SchedulerFault, at once or later */
  answer<K extends SchedulerKind>(request: Request<K>): Reply<K> | Promise<Reply<K>> {
    const kind: K = request.type;
    if (kind !== 'pd.getMembers') this.#checkCluster(request);
    return this.#handlers[kind](request);
  }

  /** The header of a reply. */
  header(fault?: SchedulerFault): pdpb.ResponseHeader {
    const clusterId = this.#options.state.cluster?.clusterId ?? 0;
    if (fault === undefined) return { clusterId, error: undefined };
    return { clusterId, error: { type: fault.type, message: fault.message, leader: fault.leader } };
  }

  #checkCluster(request: {
    readonly type: string;
    readonly header?: pdpb.RequestHeader | undefined;
    readonly sender?: string;
  }): void {
    const { cluster } = this.#options.state;
    const asked = request.header?.clusterId ?? 0;
    if (asked === 0 || asked === cluster?.clusterId) return;
    const sender = request.sender ?? '';
    const remedy =
      roleOf(sender) === 'client'
        ? 'connect again'
        : 'start it in its own cluster, or with an empty data directory';
    throw new SchedulerFault(
      ErrorType.IDENTITY_MISMATCH,
      `"${sender}" belongs to another cluster (id ${asked}) than this scheduler (id ${cluster?.clusterId ?? 0}, "${this.#options.cluster}"): ${remedy}.`,
    );
  }

  readonly #handlers: Handlers = {
    'pd.getMembers': () => ({ header: this.header(), ...this.#options.members() }),

    'pd.bootstrapInfo': () => {
      const { cluster, stores, phase } = this.#options.state;
      return {
        header: this.header(),
        bootstrapped: phase === 'serving',
        maxEntryBytes: cluster?.maxEntryBytes ?? 0,
        expectedStores: cluster?.expectedStores ?? 0,
        registeredStores: stores.size,
        cluster: this.#options.cluster,
      };
    },

    'pd.putStore': async (request) => {
      const { state, watch, clock, propose, storeJoined } = this.#options;
      const asked = this.#checkedStore(request);
      const result = await propose({ registerStore: { store: asked } });
      if (!result.ok) throw SchedulerFault.of(result.refusal);
      const store = result.store ?? asked;
      watch.follow(store, clock.now());
      watch.heard(store.id, clock.now());
      storeJoined();
      const peer = state.unconfirmed.find((one) => one.storeId === store.id);
      return {
        header: this.header(),
        storeId: store.id,
        maxEntryBytes: state.cluster?.maxEntryBytes ?? 0,
        clusterVersion: this.#clusterVersion(),
        bootstrapRegion: peer === undefined ? undefined : state.firstRegion,
        bootstrapPeer: peer,
      };
    },

    'pd.allocId': async ({ count: asked }) => {
      const count = asked === 0 ? 1 : asked;
      if (count > MAX_IDS_AT_ONCE) {
        throw new SchedulerFault(
          ErrorType.INVALID_VALUE,
          `${count} ids at once; ask for ${MAX_IDS_AT_ONCE} at most.`,
        );
      }
      return { header: this.header(), id: await this.#options.ids.allocate(count), count };
    },

    'pd.tso': async ({ count }) => {
      if (count < 1 || count > MAX_TIMESTAMPS_AT_ONCE) {
        throw new SchedulerFault(
          ErrorType.INVALID_VALUE,
          `${count} timestamps at once; ask for 1 to ${MAX_TIMESTAMPS_AT_ONCE}.`,
        );
      }
      const { physical, logical } = await this.#options.timestamps(count);
      // The reply carries the last, as PD's does.
      return { header: this.header(), count, timestamp: { physical, logical: logical + count - 1 } };
    },

    'pd.getStore': ({ storeId }) => {
      const store = this.#knownStore(storeId);
      return { header: this.header(), store, stats: this.#options.watch.statsOf(storeId) };
    },

    'pd.getAllStores': ({ excludeTombstoneStores }) => {
      const stores = [...this.#options.state.stores.values()].filter(
        (store) => !excludeTombstoneStores || store.state !== metapb.StoreState.Tombstone,
      );
      return { header: this.header(), stores };
    },

    'pd.getRegion': ({ regionKey }) => this.#regionReply(this.#options.state.regions.find(regionKey)),

    'pd.getRegionById': ({ regionId }) => {
      const { regions, merged } = this.#options.state;
      const region = regions.get(regionId);
      return { ...this.#regionReply(region), merged: region === undefined && merged.has(regionId) };
    },

    'pd.scanRegions': ({ startKey, endKey, limit }) => ({
      header: this.header(),
      regions: this.#regions(startKey, endKey, limit),
    }),

    'pd.storeHeartbeat': async ({ stats, sender }) => {
      const { clock, propose, storeJoined, watch } = this.#options;
      const store = this.#knownStore(stats?.storeId ?? 0);
      if (sender !== undefined && sender !== store.address) {
        throw new SchedulerFault(ErrorType.INVALID_VALUE, `"${sender}" cannot speak for "${store.address}".`);
      }
      if (store.state === metapb.StoreState.Tombstone) throw SchedulerFault.of(retired(store).refusal);
      if (stats === undefined || stats.incarnation < store.incarnation) {
        throw SchedulerFault.of(overtaken(store).refusal);
      }
      watch.follow(store, clock.now());
      watch.heartbeat(stats, clock.now());
      if (store.nodeState === metapb.NodeState.Preparing) {
        const result = await propose({
          registerStore: { store: { ...store, incarnation: stats.incarnation } },
        });
        if (!result.ok) throw SchedulerFault.of(result.refusal);
        storeJoined();
      }
      const { transaction: txnSafePoint, gc: gcSafePoint } = this.#options.state.safePoints;
      const [clusterVersion, term] = [this.#clusterVersion(), this.#options.term()];
      return { header: this.header(), clusterVersion, term, txnSafePoint, gcSafePoint };
    },

    'pd.regionHeartbeat': async (heartbeat) => {
      const { report, order } = await this.#heartbeats.take(heartbeat);
      const { region, leader } = report;
      return pdpb.RegionHeartbeatResponse.from({
        ...order,
        header: this.header(),
        regionId: region.id,
        regionEpoch: region.regionEpoch,
        targetPeer: leader,
      });
    },

    'pd.askBatchSplit': async ({ region, splitCount }) => {
      const count = splitCount === 0 ? 1 : splitCount;
      const known = this.#current(region);
      if (count > MAX_SPLIT_PARTS) {
        throw new SchedulerFault(
          ErrorType.INVALID_VALUE,
          `A split into ${count + 1} parts; ask for ${MAX_SPLIT_PARTS + 1} at most.`,
        );
      }
      const each = 1 + known.peers.length;
      const first = await this.#options.ids.allocate(count * each);
      const ids = Array.from({ length: count }, (_, part) => {
        const newRegionId = first + part * each;
        return { newRegionId, newPeerIds: known.peers.map((_peer, i) => newRegionId + 1 + i) };
      });
      return { header: this.header(), ids };
    },

    'pd.reportBatchSplit': async ({ regions }) => {
      for (const region of regions) {
        const flaw = malformation(region);
        if (flaw !== undefined)
          throw new SchedulerFault(ErrorType.INVALID_VALUE, `The report of a split describes ${flaw}.`);
      }
      // In one command, so that no key is without a region in between.
      const result = await this.#options.propose({ putRegions: { regions } });
      if (!result.ok) throw SchedulerFault.of(result.refusal);
      this.#options.placement.coordinator.wasSplit(regions.map(({ id }) => id));
      return { header: this.header() };
    },

    'pd.reportMerged': async ({ regionIds }) => {
      if (regionIds.length > MAX_MERGED_AT_ONCE)
        throw new SchedulerFault(
          ErrorType.INVALID_VALUE,
          `${regionIds.length} merged regions at once; report ${MAX_MERGED_AT_ONCE} at most.`,
        );
      const { state, propose } = this.#options;
      const news = regionIds.filter((id) => !state.merged.has(id));
      if (news.length > 0) await propose({ noteMerged: { regionIds: news } });
      return { header: this.header() };
    },

    'pd.getGCSafePoint': () => {
      const { gc: safePoint, transaction: txnSafePoint } = this.#options.state.safePoints;
      return { header: this.header(), safePoint, txnSafePoint };
    },

    'pd.updateServiceGCSafePoint': async (request) => {
      const result = await this.#safePoints.updateService(request);
      return { header: this.header(), ...result };
    },

    'pd.getGcStatus': () => ({ header: this.header(), gc: this.#gcStatus() }),

    'pd.runGc': () => {
      if (!this.#options.collector.run())
        throw new SchedulerFault(
          ErrorType.DUPLICATED_ENTRY,
          'The collection of old versions is switched off: set gc-enabled to true (`troupe gc resume`) first.',
        );
      return { header: this.header() };
    },

    'pd.getStatus': () => {
      const { cluster, state, watch, members } = this.#options;
      const { members: schedulers, leader } = members();
      const stores = [...state.stores.values()].map((store) => {
        const name = watch.stateOf(store.id);
        // What one that is gone said last is not so any more.
        const stats = name === 'tombstone' ? undefined : watch.statsOf(store.id);
        return { store, stats, state: name.charAt(0).toUpperCase() + name.slice(1) };
      });
      const regions = this.#regions(NO_KEY, NO_KEY, 0);
      return { header: this.header(), cluster, schedulers, leader, stores, regions, gc: this.#gcStatus() };
    },

    'pd.getPlacement': () => ({ header: this.header(), ...this.#steering.get() }),

    'pd.steerPlacement': async (request) => {
      await this.#steering.steer(request);
      this.#options.collector.tick();
      return { header: this.header() };
    },

    'pd.getOperators': ({ ended }) => ({ header: this.header(), operators: this.#operators.list(ended) }),

    'pd.addOperator': (request) => ({ header: this.header(), operators: this.#operators.add(request) }),

    'pd.cancelOperator': ({ regionId }) => {
      this.#operators.cancel(regionId);
      return { header: this.header() };
    },

    'pd.findRegions': ({ state, limit }) => {
      const { placement } = this.#options;
      const ids = placement.coordinator.find(state, Math.min(limit || MAX_FOUND, MAX_FOUND));
      if (ids === undefined) {
        throw new SchedulerFault(
          ErrorType.INVALID_VALUE,
          `No region is ever "${state}": ask for one of ${REGION_STATES.join(', ')}.`,
        );
      }
      const regions = ids.map((id) => {
        const { replication, leadership, size, load, operator } = placement.coordinator.stateOf(id);
        const { bytesWritten, keysWritten, bytesRead, keysRead } = placement.view.report(id)?.flow ?? NO_FLOW;
        const region = this.#told(this.#options.state.regions.get(id));
        const states = { replication, leadership, size, load, operator };
        return { region, ...states, bytesWritten, keysWritten, bytesRead, keysRead };
      });
      return { header: this.header(), regions };
    },
  };

  #gcStatus(): troupepb.GcStatus {
    const { state, collector } = this.#options;
    const { transaction: txnSafePoint, gc: gcSafePoint } = state.safePoints;
    return { ...collector.told(), txnSafePoint, gcSafePoint, ...this.#safePoints.services() };
  }

  #checkedStore({ store, sender }: Request<'pd.putStore'>): metapb.Store {
    const { state, watch, clock } = this.#options;
    if (store === undefined || !isName(store.address)) {
      throw new SchedulerFault(
        ErrorType.INVALID_VALUE,
        'A store registers under a node name: letters, digits, - and _.',
      );
    }
    const words = [store.version, ...store.labels.flatMap(({ key, value }) => [key, value])];
    if (words.join('').length > MAX_DESCRIPTION_LENGTH) {
      throw new SchedulerFault(
        ErrorType.INVALID_VALUE,
        `The version and labels of "${store.address}" have more than ${MAX_DESCRIPTION_LENGTH} characters together.`,
      );
    }
    const illegal = store.labels.find(({ key, value }) => !isLabel(key) || !isLabel(value));
    if (illegal !== undefined) {
      throw new SchedulerFault(
        ErrorType.INVALID_VALUE,
        `"${illegal.key}=${illegal.value}" of "${store.address}" is no label: key and value have letters, digits, -, _ and ., at most 63 each.`,
      );
    }
    if (sender !== undefined && sender !== store.address) {
      throw new SchedulerFault(ErrorType.INVALID_VALUE, `"${sender}" cannot register "${store.address}".`);
    }
    const known = byName(state.stores, store.address);
    const silence = known === undefined ? Number.POSITIVE_INFINITY : watch.silence(known.id, clock.now());
    // Once a store has shown its identity an empty directory is refused anyway, and the sentence for that says more.
    const unproven = known?.nodeState === metapb.NodeState.Preparing && store.id === 0;
    if (unproven && known.incarnation !== store.incarnation && silence < DISCONNECTED_AFTER_MS) {
      throw new SchedulerFault(
        ErrorType.IDENTITY_MISMATCH,
        `The name "${known.address}" is in use by a live node (store ${known.id}, heard of ${(silence / 1000).toFixed(1)} s ago): give the new store a name of its own.`,
      );
    }
    return store;
  }

  /** The region as the caller has it, when nothing newer is known. */
  #current(region: metapb.Region | undefined): metapb.Region {
    const known = this.#options.state.regions.get(region?.id ?? 0);
    if (region === undefined || known === undefined) {
      throw new SchedulerFault(ErrorType.REGION_NOT_FOUND, `There is no region ${region?.id ?? 0}.`);
    }
    const stale = this.#options.state.staleness(region);
    if (stale !== undefined)
      throw new SchedulerFault(ErrorType.DUPLICATED_ENTRY, `${stale}: report it first.`);
    return region;
  }

  #knownStore(storeId: number): metapb.Store {
    const store = this.#options.state.stores.get(storeId);
    if (store !== undefined) return store;
    throw new SchedulerFault(
      ErrorType.ENTRY_NOT_FOUND,
      `The cluster "${this.#options.cluster}" has no store ${storeId}.`,
    );
  }

  #regionReply(region: metapb.Region | undefined): pdpb.GetRegionResponse {
    return { header: this.header(), ...this.#told(region), merged: false };
  }

  #regions(startKey: Uint8Array, endKey: Uint8Array, limit: number): pdpb.Region[] {
    const found = this.#options.state.regions.scan(
      startKey,
      endKey,
      limit > 0 ? limit : Number.POSITIVE_INFINITY,
    );
    const regions: pdpb.Region[] = [];
    let bytes = 0;
    for (const region of found) {
      bytes += region.startKey.length + region.endKey.length + 32 * (region.peers.length + 2);
      if (bytes > MAX_REGION_BYTES && regions.length > 0) break;
      regions.push(this.#told(region));
    }
    return regions;
  }

  #told(region: metapb.Region | undefined): pdpb.Region {
    const report = region === undefined ? undefined : this.#options.placement.view.report(region.id);
    // A leader that is no longer a peer is none.
    const leader = region?.peers.some((peer) => peer.id === report?.leader.id) ? report?.leader : undefined;
    const { downPeers = [], pendingPeers = [], approximateSize = 0, approximateKeys = 0 } = report ?? {};
    return { region, leader, downPeers, pendingPeers, approximateSize, approximateKeys };
  }

  /** The lowest version of all stores: nothing newer may be proposed before it rises. */
  #clusterVersion(): string {
    const versions = [...this.#options.state.stores.values()]
      .filter((store) => store.state !== metapb.StoreState.Tombstone && store.version !== '')
      .map((store) => store.version);
    return versions.sort((a, b) => a.localeCompare(b, 'en', { numeric: true }))[0] ?? '';
  }
}

const NO_KEY = new Uint8Array(0);
