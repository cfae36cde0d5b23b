import { expect } from 'chai';
import fc from 'fast-check';
import { seededRandom } from '../../actors/index.js';
import type { RegionReport } from '../../cluster/scheduler/placement/region-report.js';
import { metapb } from '../../storage/proto/index.js';
import { stateIn } from '../cluster/placement-plans.js';
import { miscounts } from '../cluster/placement-service-world.js';
import { MIB, PlacementWorld } from '../cluster/placement-world.js';

const { Learner, IncomingVoter, DemotingVoter } = metapb.PeerRole;
const STORES = 7;
const REGIONS = 12;
/** At most so many stores are away at once: dead, or to be left. */
const MOST_AWAY = 3;
const DOWN_MS = 20_000;
const ON_ITS_WAY_MS = 50;

const ACTS = ['kill', 'revive', 'leave', 'stay', 'split', 'merge', 'late', 'lead', 'lossy', 'sure'] as const;
interface Act {
  readonly kind: (typeof ACTS)[number];
  /** Which store or region. */
  readonly which: number;
  /** Milliseconds until the next one. */
  readonly wait: number;
}

/** A cluster that is done things to, and looked at after each change of a region. */
class Faults {
  readonly world: PlacementWorld;
  readonly #random: () => number;
  readonly #before = new Map<number, metapb.Region>();
  #lossy = false;
  #killedAt = Number.NEGATIVE_INFINITY;

  constructor(seed: number) {
    this.#random = seededRandom(seed);
    this.world = new PlacementWorld(seed, {
      storeLimit: 100_000,
      maxStoreDownTime: DOWN_MS,
      splitMergeInterval: 1_000,
    });
    this.world.addStores(STORES);
    for (let i = 0; i < REGIONS; i++) {
      const stores = [0, 1, 2].map((n) => ((i + n * (1 + (i % 2))) % 5) + 1);
      this.world.addRegion({ stores, size: (5 + 10 * (i % 8)) * MIB, keys: 1_000 });
    }
    this.world.watch = (report) => this.#look(report);
    this.world.loses = () => this.#lossy && this.#random() < 0.3;
    this.world.start();
  }

  async do({ kind, which, wait }: Act): Promise<void> {
    const { world } = this;
    const store = (which % STORES) + 1;
    const state = world.states.get(store);
    const regions = world.tree.all();
    const region = regions[which % regions.length];
    const away = [...world.states.values()].filter((one) => one !== 'up').length;
    if (region === undefined) throw new Error('a cluster without regions');
    if (kind === 'kill' && state === 'up' && away < MOST_AWAY) {
      this.#killedAt = world.clock.now();
      world.kill(store);
    }
    if (kind === 'revive' && state === 'disconnected') world.revive(store);
    if (kind === 'leave' && state === 'up' && away < MOST_AWAY) world.states.set(store, 'offline');
    if (kind === 'stay' && state === 'offline') world.states.set(store, 'up');
    if (kind === 'split') this.#split(region);
    if (kind === 'merge') this.#merge(region, regions[(which % regions.length) + 1]);
    if (kind === 'late') this.#late(world.report(region.id));
    if (kind === 'lead') this.#lead(region);
    if (kind === 'lossy' || kind === 'sure') this.#lossy = kind === 'lossy';
    await world.clock.advance(wait);
  }

  /** Everybody is back and nothing is lost; who was to be left is still. */
  calm(): void {
    this.#lossy = false;
    const { world } = this;
    for (const [store, state] of world.states) if (state === 'disconnected') world.revive(store);
    for (const { id } of [...world.tree.all()]) world.tell(id, {});
  }

  #split({ id, startKey, endKey, peers }: metapb.Region): void {
    const key = ['5', '3', '1', '-', '\u0001']
      .map((end) => Buffer.concat([startKey, Buffer.from(end)]))
      .find((one) => endKey.length === 0 || Buffer.compare(one, endKey) < 0);
    if (key === undefined || !this.world.isAlive(this.world.leaderOf(id)) || !isSimple(peers)) return;
    this.world.carryOut(id, { splitRegion: { policy: 2, keys: [key] } });
  }

  #merge(source: metapb.Region, target: metapb.Region | undefined): void {
    if (target === undefined || !isSimple(source.peers) || !isSimple(target.peers)) return;
    const { isAlive, leaderOf } = this.world;
    const led = [source, target].every(({ id }) => isAlive.call(this.world, leaderOf.call(this.world, id)));
    if (led) this.world.carryOut(source.id, { merge: { target } });
  }

  /** A heartbeat from before what was pending or down came to be so, or ceased to be. */
  #late(report: RegionReport): void {
    const { id } = report.region;
    const pendingPeers = report.pendingPeers.length > 0 ? [] : report.region.peers.slice(-1);
    this.world.view.put({ ...report, pendingPeers, downPeers: [] });
    this.world.coordinator.heard({ ...report, pendingPeers, downPeers: [] });
    this.world.view.put(report);
    if (this.world.tree.get(id) !== undefined) this.world.coordinator.heard(report);
  }

  #lead({ id, peers }: metapb.Region): void {
    const report = this.world.report(id);
    const other = peers.find(
      (peer) =>
        peer.id !== report.leader.id &&
        peer.role === metapb.PeerRole.Voter &&
        this.world.isAlive(peer.storeId) &&
        !report.pendingPeers.some((one) => one.id === peer.id),
    );
    if (other !== undefined) this.world.tell(id, { leader: other, term: report.term + 1 });
  }

  #look(report: RegionReport): void {
    const { region } = report;
    const before = this.#before.get(region.id);
    this.#before.set(region.id, region);
    const stores = new Set(region.peers.map(({ storeId }) => storeId));
    if (stores.size < region.peers.length) throw new Error(`region ${region.id} has two peers on a store`);
    if (before === undefined || before.peers === region.peers) return;
    // An order that was on its way when a store died: it is for the leader to refuse what could not commit.
    if (this.world.clock.now() - this.#killedAt < ON_ITS_WAY_MS) return;
    if (this.#isQuorate(before, report) && !this.#isQuorate(region, report))
      throw new Error(`region ${region.id} lost its majority by a change to ${JSON.stringify(region.peers)}`);
    const leader = region.peers.find(({ id }) => id === report.leader.id);
    if (leader === undefined || leader.role === Learner)
      throw new Error(`region ${region.id} is led by none of its voters`);
  }

  /** Most voters of the old membership, and of the new one, are alive and have caught up. */
  #isQuorate({ peers }: metapb.Region, { pendingPeers }: RegionReport): boolean {
    const fit = ({ id, storeId }: metapb.Peer): boolean =>
      this.world.isAlive(storeId) && !pendingPeers.some((one) => one.id === id);
    return [IncomingVoter, DemotingVoter].every((absent) => {
      const voters = peers.filter(({ role }) => role !== Learner && role !== absent);
      return voters.filter(fit).length * 2 > voters.length;
    });
  }
}

function isSimple(peers: readonly metapb.Peer[]): boolean {
  return peers.every(({ role }) => role === metapb.PeerRole.Voter);
}

const act = fc.record({
  kind: fc.constantFrom(...ACTS),
  which: fc.nat(1_000),
  wait: fc.constantFrom(0, 5, 30, 150, 1_000, 10_000, 25_000),
});

describe('placement under faults', () => {
  it('costs no region its majority, and ends with all of them whole, and nothing under way', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer(), fc.array(act, { minLength: 5, maxLength: 60 }), async (seed, acts) => {
        const faults = new Faults(seed);
        const { world } = faults;
        for (const one of acts) await faults.do(one);
        faults.calm();
        await world.rest(20_000, 3_600_000);
        const { view, coordinator } = world;
        for (const { id, peers } of world.tree.all()) {
          expect(stateIn(world, id).replication, `region ${id}`).to.equal('whole');
          expect(coordinator.stateOf(id).operator).to.equal('none');
          expect(peers.map(({ storeId }) => world.states.get(storeId))).to.deep.equal(['up', 'up', 'up']);
        }
        expect([...coordinator.operators.all()]).to.deep.equal([]);
        for (const store of world.stores.keys())
          expect({ ...coordinator.operators.influence(store) }).to.deep.equal({
            replicas: 0,
            leaders: 0,
            size: 0,
            leaderSize: 0,
          });
        for (const kind of ['leader', 'region', 'replica', 'merge', 'hot', 'split', 'admin'] as const)
          expect(coordinator.operators.count(kind), kind).to.equal(0);
        expect(miscounts(view, world.stores.keys())).to.deep.equal([]);
        world.stop();
      }),
      { numRuns: 100, seed: 5 },
    );
  });
});
