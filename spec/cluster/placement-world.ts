import { seededRandom, VirtualClock } from '../../actors/index.js';
import { pdpb } from '../../cluster/proto/index.js';
import { RegionTree } from '../../cluster/region-tree.js';
import type { PlacementConfig } from '../../cluster/scheduler/placement/config.js';
import { Coordinator } from '../../cluster/scheduler/placement/coordinator.js';
import {
  NO_FLOW,
  type RegionFlow,
  type RegionReport,
} from '../../cluster/scheduler/placement/region-report.js';
import {
  DEFAULT_SCHEDULERS,
  type SchedulerEntry,
} from '../../cluster/scheduler/placement/schedulers/index.js';
import type { Order } from '../../cluster/scheduler/placement/steps.js';
import { ClusterView } from '../../cluster/scheduler/placement/view.js';
import type { StoreState } from '../../machines/index.js';
import { eraftpb, metapb } from '../../storage/proto/index.js';

const { PeerRole } = metapb;
const { ConfChangeType } = eraftpb;

export const MIB = 1024 * 1024;
const GIB = 1024 * MIB;
/** How long a leader takes to do what it is told, and how much longer until a new peer has caught up. */
const ORDER_MS = 20;
const CATCH_UP_MS = 200;

export interface SimulatedRegion {
  readonly stores: readonly number[];
  readonly leader?: number;
  /** Bytes (64 MiB). */
  readonly size?: number;
  readonly keys?: number;
  readonly learners?: readonly number[];
  readonly flow?: Partial<RegionFlow>;
}

/**
 * Stores and regions that are made up, under a real coordinator on virtual time: leaders do what they are told and tell of
 * it. What takes a cluster hours passes in seconds, and the same for the same seed.
 */
export class PlacementWorld {
  readonly clock = new VirtualClock();
  readonly tree = new RegionTree();
  readonly stores = new Map<number, metapb.Store>();
  readonly states = new Map<number, StoreState>();
  readonly stats = new Map<number, pdpb.StoreStats>();
  readonly silentSince = new Map<number, number>();
  readonly view: ClusterView;
  readonly coordinator: Coordinator;
  schedulers: readonly SchedulerEntry[] = DEFAULT_SCHEDULERS;
  collected = false;
  /** Every order that was carried out, in words. */
  readonly story: string[] = [];
  replicasMade = 0;
  leadersMoved = 0;
  /** Seen after every change of a region. */
  watch: (report: RegionReport) => void = () => {};
  /** Whether the next heartbeat, or the next order, is lost. */
  loses: () => boolean = () => false;
  #nextId = 1;
  readonly #busy = new Set<number>();

  constructor(seed = 1, config: Partial<PlacementConfig> = {}) {
    this.view = new ClusterView({
      regions: this.tree,
      stores: this.stores,
      watch: {
        stateOf: (id) => this.states.get(id) ?? 'disconnected',
        statsOf: (id) => this.stats.get(id),
        silence: (id, now) => now - (this.silentSince.get(id) ?? now),
      },
      now: () => this.clock.now(),
    });
    this.view.config = { ...this.view.config, ...config };
    this.coordinator = new Coordinator({
      view: this.view,
      clock: this.clock,
      random: seededRandom(seed),
      wallTime: () => this.clock.now(),
      send: (report, order) => this.#obey(report.region.id, order),
      schedulers: () => this.schedulers,
      collected: () => {
        this.collected = true;
      },
    });
  }

  addStore(labels: Readonly<Record<string, string>> = {}, capacity = 1024 * GIB): number {
    const id = this.stores.size + 1;
    this.stores.set(
      id,
      metapb.Store.from({
        id,
        address: `store-${id}`,
        labels: Object.entries(labels).map(([key, value]) => ({ key, value })),
      }),
    );
    this.states.set(id, 'up');
    this.stats.set(id, pdpb.StoreStats.from({ storeId: id, capacity, available: capacity }));
    return id;
  }

  addStores(count: number): void {
    for (let i = 0; i < count; i++) this.addStore();
  }

  /** Appends a region behind those that there are, and tells of it. @returns its id */
  addRegion(simulated: SimulatedRegion): number {
    const id = this.#nextId++;
    const peers = [
      ...simulated.stores.map((storeId) => ({ id: this.#nextId++, storeId, role: PeerRole.Voter })),
      ...(simulated.learners ?? []).map((storeId) => ({
        id: this.#nextId++,
        storeId,
        role: PeerRole.Learner,
      })),
    ];
    const last = this.tree.all().at(-1);
    const startKey = last === undefined ? NO_KEY : keyOf(this.tree.size);
    if (last !== undefined) this.tree.put({ ...last, endKey: startKey });
    const region = { id, startKey, endKey: NO_KEY, regionEpoch: { confVer: 1, version: 1 }, peers };
    this.tree.put(region);
    const before = last && this.view.report(last.id);
    if (before !== undefined) this.view.put({ ...before, region: this.region(before.region.id) });
    const leader = peers.find(({ storeId }) => storeId === simulated.leader) ?? peers[0];
    if (leader === undefined) throw new Error('a region without peers');
    this.view.put({
      region,
      leader,
      term: 6,
      downPeers: [],
      pendingPeers: [],
      approximateSize: simulated.size ?? 64 * MIB,
      approximateKeys: simulated.keys ?? 100_000,
      flow: { ...NO_FLOW, ...simulated.flow },
    });
    return id;
  }

  region(id: number): metapb.Region {
    return this.tree.get(id) ?? lost(id);
  }

  report(id: number): RegionReport {
    return this.view.report(id) ?? lost(id);
  }

  storesOf(id: number): number[] {
    return this.region(id)
      .peers.map(({ storeId }) => storeId)
      .sort((a, b) => a - b);
  }

  leaderOf(id: number): number {
    return this.report(id).leader.storeId;
  }

  start(): void {
    for (const { region } of [...this.tree.all()].map(({ id }) => this.report(id))) this.tell(region.id, {});
    this.coordinator.start();
  }

  /** A heartbeat with something changed. */
  tell(id: number, change: Partial<RegionReport>): void {
    const report = { ...this.report(id), ...change, region: change.region ?? this.region(id) };
    if (change.region !== undefined) {
      for (const gone of this.tree.put(change.region)) this.#gone(gone.id);
    }
    this.view.put(report);
    this.watch(report);
    if (this.loses()) return;
    const order = this.coordinator.heard(report);
    if (order !== undefined) this.#obey(id, order);
  }

  isAlive(storeId: number): boolean {
    const state = this.states.get(storeId);
    return state === 'up' || state === 'offline';
  }

  /** A store stops speaking; regions that it led get another leader, and tell of the peer that is down. */
  kill(storeId: number): void {
    this.states.set(storeId, 'disconnected');
    this.silentSince.set(storeId, this.clock.now());
    for (const region of [...this.tree.all()]) {
      const dead = region.peers.find((peer) => peer.storeId === storeId);
      const report = this.report(region.id);
      if (dead === undefined) continue;
      const alive = region.peers.filter(
        ({ storeId: id, role }) => role !== PeerRole.Learner && this.isAlive(id),
      );
      const leader = alive.find(({ id }) => id === report.leader.id) ?? alive[0];
      if (leader === undefined || alive.length * 2 <= region.peers.length) continue;
      const downPeers = [...report.downPeers, { peer: dead, downSeconds: 1 }];
      this.tell(region.id, { leader, downPeers, term: report.term + 1 });
    }
  }

  /** It speaks again: its peers answer, and those that were behind catch up; regions without a leader elect one. */
  revive(storeId: number): void {
    this.states.set(storeId, 'up');
    this.silentSince.delete(storeId);
    for (const region of [...this.tree.all()]) {
      const report = this.report(region.id);
      const alive = region.peers.filter(
        ({ storeId: id, role }) => role !== PeerRole.Learner && this.isAlive(id),
      );
      const elsewhere = ({ storeId: id }: { readonly storeId: number }): boolean => id !== storeId;
      this.tell(region.id, {
        leader: this.isAlive(report.leader.storeId) ? report.leader : (alive[0] ?? report.leader),
        downPeers: report.downPeers.filter(({ peer }) => peer !== undefined && elsewhere(peer)),
        pendingPeers: report.pendingPeers.filter(elsewhere),
      });
    }
  }

  /** Runs until a condition holds. @throws Error when it does not within so many virtual milliseconds */
  async until(what: string, condition: () => boolean, limit = 3_600_000): Promise<void> {
    if (!(await this.clock.runUntil(condition, limit))) {
      throw new Error(`within ${limit} ms of virtual time it did not come to this: ${what}`);
    }
  }

  /** Runs until no operator has been under way for so many virtual milliseconds. */
  async rest(quiet = 30_000, limit = 36_000_000): Promise<void> {
    let since = this.clock.now();
    await this.until(
      'no operator is under way',
      () => {
        if (!this.coordinator.operators.all().next().done) since = this.clock.now();
        return this.clock.now() - since >= quiet;
      },
      limit,
    );
  }

  stop(): void {
    this.coordinator.stop();
  }

  /** One at a time for each region: an order that comes meanwhile is lost, and sent again. */
  #obey(id: number, order: Order): void {
    if (this.#busy.has(id) || this.loses()) return;
    this.#busy.add(id);
    this.clock.setTimeout(() => {
      this.#busy.delete(id);
      if (this.tree.get(id) !== undefined && this.isAlive(this.leaderOf(id))) this.carryOut(id, order);
    }, ORDER_MS);
  }

  /** What a region's leader does when it is told so. */
  carryOut(id: number, order: Order): void {
    const region = this.region(id);
    const { transferLeader, changePeer, changePeerV2, merge, splitRegion } = order;
    if (transferLeader?.peer !== undefined) {
      const leader = region.peers.find((peer) => peer.id === transferLeader.peer?.id);
      if (leader === undefined || this.states.get(leader.storeId) !== 'up') return;
      this.leadersMoved++;
      this.story.push(`region ${id} is led from store ${leader.storeId}`);
      return this.tell(id, { leader, term: this.report(id).term + 1 });
    }
    if (changePeer !== undefined) return this.#change(id, [changePeer]);
    if (changePeerV2 !== undefined) {
      return changePeerV2.changes.length === 0
        ? this.#leaveJoint(id)
        : this.#change(id, changePeerV2.changes);
    }
    if (merge?.target !== undefined) return this.#merge(id, merge.target.id);
    if (splitRegion !== undefined) return this.#split(id, splitRegion.keys);
  }

  #change(id: number, changes: readonly pdpb.ChangePeer[]): void {
    const region = this.region(id);
    const joint = changes.length > 1;
    let { peers } = region;
    let added: metapb.Peer | undefined;
    for (const { peer, changeType } of changes) {
      if (peer === undefined) return;
      const known = peers.find(({ storeId }) => storeId === peer.storeId);
      const { RemoveNode, AddNode } = ConfChangeType;
      if (known === undefined) {
        if (changeType === RemoveNode) return;
        added = { id: this.#nextId++, storeId: peer.storeId, role: PeerRole.Learner };
        peers = [...peers, added];
      } else if (changeType === RemoveNode) {
        if (known.id === this.report(id).leader.id) return;
        peers = peers.filter((one) => one !== known);
      } else {
        const role =
          changeType === AddNode
            ? joint
              ? PeerRole.IncomingVoter
              : PeerRole.Voter
            : joint
              ? PeerRole.DemotingVoter
              : PeerRole.Learner;
        peers = peers.map((one) => (one === known ? { ...one, role } : one));
      }
    }
    const { confVer = 0, version = 0 } = region.regionEpoch ?? {};
    this.story.push(
      `region ${id} has peers on ${peers.map(({ storeId, role }) => `${storeId}/${role}`).join(' ')}`,
    );
    const report = this.report(id);
    const next = { ...region, peers, regionEpoch: { confVer: confVer + changes.length, version } };
    const present = (one: metapb.Peer): boolean => peers.some((peer) => peer.id === one.id);
    const pendingPeers = [...report.pendingPeers.filter(present), ...(added === undefined ? [] : [added])];
    const downPeers = report.downPeers.filter(({ peer }) => peer !== undefined && present(peer));
    this.tell(id, { region: next, pendingPeers, downPeers });
    if (added === undefined) return;
    this.replicasMade++;
    const fresh = added;
    this.clock.setTimeout(() => {
      if (this.tree.get(id) === undefined || this.states.get(fresh.storeId) !== 'up') return;
      this.tell(id, { pendingPeers: this.report(id).pendingPeers.filter((peer) => peer.id !== fresh.id) });
    }, CATCH_UP_MS);
  }

  #leaveJoint(id: number): void {
    const region = this.region(id);
    let flipped = 0;
    const peers = region.peers.map((peer) => {
      if (peer.role !== PeerRole.IncomingVoter && peer.role !== PeerRole.DemotingVoter) return peer;
      flipped++;
      return { ...peer, role: peer.role === PeerRole.IncomingVoter ? PeerRole.Voter : PeerRole.Learner };
    });
    const { confVer = 0, version = 0 } = region.regionEpoch ?? {};
    this.tell(id, { region: { ...region, peers, regionEpoch: { confVer: confVer + flipped, version } } });
  }

  #merge(sourceId: number, targetId: number): void {
    const [source, target] = [this.region(sourceId), this.region(targetId)];
    const stores = (region: metapb.Region): string =>
      region.peers
        .map(({ storeId }) => storeId)
        .sort()
        .join();
    if (stores(source) !== stores(target)) return;
    const [first, second] = this.#before(source, target) ? [source, target] : [target, source];
    const version = Math.max(source.regionEpoch?.version ?? 0, target.regionEpoch?.version ?? 0) + 1;
    const [a, b] = [this.report(sourceId), this.report(targetId)];
    this.story.push(`region ${sourceId} goes into ${targetId}`);
    this.tell(targetId, {
      region: {
        ...target,
        startKey: first.startKey,
        endKey: second.endKey,
        regionEpoch: { confVer: target.regionEpoch?.confVer ?? 0, version },
      },
      approximateSize: a.approximateSize + b.approximateSize,
      approximateKeys: a.approximateKeys + b.approximateKeys,
    });
  }

  #before(a: metapb.Region, b: metapb.Region): boolean {
    return Buffer.compare(a.startKey, b.startKey) < 0;
  }

  #split(id: number, keys: readonly Uint8Array[]): void {
    const region = this.region(id);
    const report = this.report(id);
    const bounds = [...keys, region.endKey];
    const version = (region.regionEpoch?.version ?? 0) + keys.length;
    const regionEpoch = { confVer: region.regionEpoch?.confVer ?? 0, version };
    const part = { approximateSize: report.approximateSize / bounds.length, term: 6 };
    this.story.push(`region ${id} is split into ${bounds.length}`);
    this.tell(id, { ...part, region: { ...region, endKey: bounds[0] ?? NO_KEY, regionEpoch } });
    for (const [i, startKey] of keys.entries()) {
      const peers = region.peers.map((peer) => ({ ...peer, id: this.#nextId++ }));
      const created = {
        id: this.#nextId++,
        startKey,
        endKey: bounds[i + 1] ?? NO_KEY,
        regionEpoch,
        peers,
      };
      this.tree.put(created);
      const leader =
        peers[region.peers.findIndex(({ id: peer }) => peer === report.leader.id)] ?? peers[0] ?? lost(id);
      const here = (one: metapb.Peer | undefined): metapb.Peer =>
        peers[region.peers.findIndex((peer) => peer.id === one?.id)] ?? lost(id);
      this.view.put({
        ...report,
        ...part,
        region: created,
        leader,
        pendingPeers: report.pendingPeers.map(here),
        downPeers: report.downPeers.map((down) => ({ ...down, peer: here(down.peer) })),
      });
      this.coordinator.wasSplit([id, created.id]);
      this.tell(created.id, {});
    }
  }

  #gone(id: number): void {
    this.view.remove(id);
    this.coordinator.regionGone(id);
  }
}

const NO_KEY = new Uint8Array(0);

/** The key before which region number `n` ends. */
export function keyOf(n: number): Uint8Array {
  return Buffer.from(String(n).padStart(8, '0'));
}

function lost(id: number): never {
  throw new Error(`there is no region ${id}`);
}
