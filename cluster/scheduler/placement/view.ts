import type { StoreState } from '../../../machines/index.js';
import { metapb } from '../../../storage/proto/index.js';
import type { pdpb } from '../../proto/index.js';
import type { RegionTree } from '../../region-tree.js';
import { DEFAULT_CONFIG, type PlacementConfig } from './config.js';
import type { RegionReport } from './region-report.js';
import { PlacementRules } from './rules.js';
import { StoreLoad } from './store-load.js';

const { PeerRole } = metapb;

/** A store as placement sees it. */
export interface StoreStanding {
  readonly id: number;
  readonly store: metapb.Store;
  readonly state: StoreState;
  /** What it last told; `undefined` until it has. */
  readonly stats: pdpb.StoreStats | undefined;
  /** Milliseconds since it was heard of. */
  readonly silence: number;
  readonly load: StoreLoad;
}

export interface ClusterViewOptions {
  /** The replicated descriptors. */
  readonly regions: RegionTree;
  readonly stores: ReadonlyMap<number, metapb.Store>;
  /** How a store does. */
  readonly watch: {
    stateOf(storeId: number): StoreState;
    statsOf(storeId: number): pdpb.StoreStats | undefined;
    silence(storeId: number, now: number): number;
  };
  readonly now: () => number;
}

/**
 * What the leading scheduler knows of its cluster: the replicated descriptors, what leaders have told of their regions,
 * and what both come to for each store. Nothing of it is replicated but the descriptors.
 */
export class ClusterView {
  readonly #options: ClusterViewOptions;
  readonly #reports = new Map<number, RegionReport>();
  readonly #loads = new Map<number, StoreLoad>();
  /** Of stores that have one of their own: peers a minute. */
  storeLimits: ReadonlyMap<number, number> = new Map();
  /** Stores whose leaders are evicted. */
  evicted: ReadonlySet<number> = new Set();
  /** Stores that are to lead all that they can: no leader is taken from them to make the cluster even. */
  granted: ReadonlySet<number> = new Set();
  #config: PlacementConfig = DEFAULT_CONFIG;
  #rules = new PlacementRules([], DEFAULT_CONFIG.maxReplicas);

  constructor(options: ClusterViewOptions) {
    this.#options = options;
  }

  get config(): PlacementConfig {
    return this.#config;
  }

  set config(config: PlacementConfig) {
    this.#config = config;
    this.#rules = new PlacementRules(config.rules, config.maxReplicas);
  }

  get rules(): PlacementRules {
    return this.#rules;
  }

  /** Whether a scheduler is evicting the leaders of a store, so that it is to get none. */
  rejectsLeaders(storeId: number): boolean {
    return this.evicted.has(storeId);
  }

  /** Peers that may be added to a store, and removed from it, in a minute. */
  limitOf(storeId: number): number {
    return this.storeLimits.get(storeId) ?? this.#config.storeLimit;
  }

  get now(): number {
    return this.#options.now();
  }

  get regions(): RegionTree {
    return this.#options.regions;
  }

  /** Regions whose leader has been heard of. */
  get reported(): number {
    return this.#reports.size;
  }

  /** What a region's leader last told; `undefined` when none has since this scheduler leads. */
  report(id: number): RegionReport | undefined {
    return this.#reports.get(id);
  }

  /** The same, of the region that ends where this one begins, and of the one that begins where it ends. */
  neighbours({ startKey, endKey }: metapb.Region): readonly (RegionReport | undefined)[] {
    const { regions } = this.#options;
    const before = startKey.length === 0 ? undefined : regions.endingAt(startKey);
    const after = endKey.length === 0 ? undefined : regions.find(endKey);
    return [before && this.report(before.id), after && this.report(after.id)];
  }

  /** Takes in what a leader tells; its descriptor is in the tree already. */
  put(report: RegionReport): void {
    this.remove(report.region.id);
    this.#reports.set(report.region.id, report);
    this.#count(report, 1);
  }

  /** Forgets a region that is no more. */
  remove(id: number): void {
    const report = this.#reports.get(id);
    if (report === undefined) return;
    this.#reports.delete(id);
    this.#count(report, -1);
  }

  /** Forgets everything that only a leader knows. */
  clear(): void {
    this.#reports.clear();
    this.#loads.clear();
  }

  loadOf(storeId: number): StoreLoad {
    let load = this.#loads.get(storeId);
    if (load === undefined) {
      load = new StoreLoad();
      this.#loads.set(storeId, load);
    }
    return load;
  }

  /** Every store that is not gone for good, by id. */
  stores(): readonly StoreStanding[] {
    const { stores } = this.#options;
    return [...stores.keys()]
      .sort((a, b) => a - b)
      .flatMap((id) => this.store(id) ?? [])
      .filter(({ state }) => state !== 'tombstone');
  }

  store(id: number): StoreStanding | undefined {
    const { stores, watch, now } = this.#options;
    const store = stores.get(id);
    return (
      store && {
        id,
        store,
        state: stateOf(store, watch.stateOf(id)),
        stats: watch.statsOf(id),
        silence: watch.silence(id, now()),
        load: this.loadOf(id),
      }
    );
  }

  /** Bytes that a replica counts as on average; 0 of none. */
  averageRegionSize(): number {
    let size = 0;
    let count = 0;
    for (const load of this.#loads.values()) {
      size += load.regionSize;
      count += load.regionCount;
    }
    return count === 0 ? 0 : size / count;
  }

  #count(report: RegionReport, sign: 1 | -1): void {
    for (const peer of report.region.peers)
      this.loadOf(peer.storeId).count(report, peer, peer.role === PeerRole.Learner, sign);
  }
}

/** What was decided of a store counts before what is seen of it. */
function stateOf({ state }: metapb.Store, seen: StoreState): StoreState {
  if (state === metapb.StoreState.Tombstone) return 'tombstone';
  return state === metapb.StoreState.Offline ? 'offline' : seen;
}
