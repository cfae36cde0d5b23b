import { expect } from 'chai';
import { seededRandom } from '../../../actors/index.js';
import { diagnose, isUntouchable } from '../../../cluster/scheduler/placement/diagnosis.js';
import type { Proposal } from '../../../cluster/scheduler/placement/operators.js';
import { balanceRegion } from '../../../cluster/scheduler/placement/schedulers/balance-region.js';
import { NEW_REGION, regionAfter, type StoreState } from '../../../machines/index.js';
import { MIB, PlacementWorld } from '../../cluster/placement-world.js';

const SIZE = 10 * MIB;

/**
 * Stores with so many regions of 10 MiB, of which only those under test can be moved: the others are learners there, which
 * balance leaves alone, and are led by a store that is gone.
 */
class Balance {
  readonly world = new PlacementWorld();
  readonly #random = seededRandom(3);
  readonly ids: number[];

  /** @param counts regions by store @param regions stores of each region under test, that of its leader first */
  constructor(counts: Readonly<Record<number, number>>, regions: readonly (readonly number[])[]) {
    const wanted = Object.keys(counts).map(Number);
    this.world.addStores(Math.max(...wanted) + 1);
    const gone = this.world.stores.size;
    this.world.states.set(gone, 'tombstone');
    for (const id of this.world.stores.keys())
      if (id !== gone && !wanted.includes(id)) this.world.stores.delete(id);
    for (const [store, count] of Object.entries(counts)) {
      const own = regions.filter((stores) => stores.includes(Number(store))).length;
      for (let i = own; i < count; i++)
        this.world.addRegion({ stores: [gone], learners: [Number(store)], size: SIZE });
    }
    this.ids = regions.map((stores) => this.world.addRegion({ stores, size: SIZE }));
    for (const [store, count] of Object.entries(counts))
      expect(this.world.view.loadOf(Number(store)).regionCount).to.equal(count);
  }

  replicas(maxReplicas: number): this {
    this.world.view.config = { ...this.world.view.config, maxReplicas };
    return this;
  }

  are(state: StoreState, ...stores: readonly number[]): this {
    for (const store of stores) this.world.states.set(store, state);
    return this;
  }

  pending(region: number, store: number): this {
    const report = this.world.report(region);
    this.world.view.put({
      ...report,
      pendingPeers: report.region.peers.filter(({ storeId }) => storeId === store),
    });
    return this;
  }

  schedule(): Proposal | undefined {
    const { view, coordinator } = this.world;
    const [proposal] = balanceRegion({
      view,
      operators: coordinator.operators,
      random: this.#random,
      mayMove: (report) => !isUntouchable(diagnose(view, report).reduce(regionAfter, NEW_REGION), report),
      isHot: () => false,
      hotRegions: () => [],
    });
    return proposal;
  }

  /** From which store to which one a peer is moved, and whether the leader moves first or with it. */
  move(): { from: number; to: number; leader: boolean; region: number } | undefined {
    const proposal = this.schedule();
    if (proposal === undefined) return undefined;
    let [from, to, leader] = [0, 0, false];
    for (const step of proposal.plan.steps) {
      if (step.kind === 'addLearner') to = step.store;
      if (step.kind === 'removePeer') from = step.store;
      if (step.kind === 'transferLeader') leader = true;
    }
    return { from, to, leader, region: proposal.report.region.id };
  }
}

function moved(balance: Balance): string | undefined {
  const move = balance.move();
  return move && `${move.from} to ${move.to}`;
}

describe('TinyKV part 3C, balance-region', () => {
  it('TestReplicas13C', () => {
    const stores = { 1: 6, 2: 8, 3: 8, 4: 16 };
    const first = new Balance(stores, [[4]]).replicas(1);
    expect(first.move()).to.include({ from: 4, to: 1, leader: true });
    const second = new Balance({ ...stores, 2: 6 }, [[4]]).replicas(1).are('offline', 1);
    expect(second.move()).to.include({ from: 4, to: 2, leader: true });
    // The region has too few replicas now.
    expect(second.replicas(3).move()).to.equal(undefined);
    expect(second.replicas(1).move()).to.not.equal(undefined);
  });

  it('TestReplicas33C', () => {
    const stores = { 1: 16, 2: 15, 3: 14 };
    expect(moved(new Balance(stores, [[1, 2, 3]]))).to.equal(undefined);
    expect(moved(new Balance({ ...stores, 4: 2 }, [[1, 2, 3]]))).to.equal('1 to 4');
    expect(moved(new Balance({ ...stores, 4: 2, 5: 1 }, [[1, 2, 3]]))).to.equal('1 to 5');
    const six = { ...stores, 4: 2, 5: 1, 6: 0 };
    expect(moved(new Balance(six, [[1, 2, 3]]))).to.equal('1 to 6');
    expect(moved(new Balance(six, [[1, 2, 3]]).are('down', 6))).to.equal('1 to 5');
    expect(moved(new Balance({ ...six, 7: 20 }, [[1, 2, 3]]).are('down', 4, 5, 6))).to.equal(undefined);
  });

  it('TestReplicas53C', () => {
    const stores = { 1: 4, 2: 5, 3: 6, 4: 7, 5: 28, 6: 1 };
    expect(moved(new Balance(stores, [[1, 2, 3, 4, 5]]).replicas(5))).to.equal('5 to 6');
    const seven = { ...stores, 7: 5 };
    expect(moved(new Balance(seven, [[1, 2, 3, 4, 5]]).replicas(5))).to.equal('5 to 6');
    expect(moved(new Balance(seven, [[2, 3, 4, 5, 6]]).replicas(5))).to.equal('5 to 1');
    const thirteen = { ...seven, 11: 29, 12: 8, 13: 7 };
    expect(moved(new Balance(thirteen, [[2, 3, 11, 12, 13]]).replicas(5))).to.equal('11 to 6');
  });

  it('TestReplacePendingRegion3C', () => {
    const regions = [
      [1, 2, 3],
      [1, 2, 3],
      [2, 1, 3],
    ];
    const balance = new Balance({ 1: 16, 2: 7, 3: 15, 4: 10 }, regions);
    const [, , third = 0] = balance.ids;
    expect(balance.pending(third, 1).move()).to.include({ from: 1, to: 4, region: third });
  });
});
