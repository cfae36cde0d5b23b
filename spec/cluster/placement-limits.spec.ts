import { expect } from 'chai';
import { Operators } from '../../cluster/scheduler/placement/operators.js';
import type { RegionReport } from '../../cluster/scheduler/placement/region-report.js';
import type { Order, Step } from '../../cluster/scheduler/placement/steps.js';
import { StoreLimits } from '../../cluster/scheduler/placement/store-limit.js';
import { MIB, PlacementWorld } from './placement-world.js';

const LARGE = 64 * MIB;
const SMALL = 5 * MIB;

describe("a store's limit", () => {
  /** How many peers of a size a store may be given at once. */
  function burst(limits: StoreLimits, size: number, change: number, now: number): number {
    let count = 0;
    while (count < 10_000 && limits.allows(1, change, size, now)) {
      limits.take(1, change, size, now);
      count++;
    }
    return count;
  }

  it('of 15 a minute gives one every four seconds, two that were saved, five small ones for one', () => {
    const limits = new StoreLimits(() => 15);
    expect(burst(limits, LARGE, 1, 0)).to.equal(2);
    expect(burst(limits, LARGE, 1, 1_900)).to.equal(0);
    expect(burst(limits, LARGE, 1, 2_100)).to.equal(1);
    expect(burst(limits, LARGE, 1, 6_200)).to.equal(1);
    expect(burst(new StoreLimits(() => 15), SMALL, 1, 0)).to.equal(12);
  });

  it('gives as many in an hour as the hour has minutes, times the limit', () => {
    const limits = new StoreLimits(() => 15);
    let count = 0;
    for (let now = 0; now < 3_600_000; now += 500) count += burst(limits, LARGE, 1, now);
    expect(count).to.be.within(60 * 15, 60 * 15 + 3);
  });

  it('counts what comes and what goes apart, and each store by itself', () => {
    const limits = new StoreLimits((id) => (id === 1 ? 15 : 600));
    burst(limits, LARGE, 1, 0);
    expect(limits.allows(1, 1, LARGE, 0)).to.equal(false);
    expect(limits.allows(1, -1, LARGE, 0)).to.equal(true);
    expect(limits.allows(2, 1, LARGE, 0)).to.equal(true);
  });

  it('of nothing allows nothing; what moves no peer is free', () => {
    const limits = new StoreLimits(() => 0);
    expect(limits.allows(1, 1, SMALL, 1e9)).to.equal(false);
    expect(limits.allows(1, 0, LARGE, 0)).to.equal(true);
  });

  it('that is changed holds from then on', () => {
    let limit = 15;
    const limits = new StoreLimits(() => limit);
    burst(limits, LARGE, 1, 0);
    limit = 6_000;
    expect(burst(limits, LARGE, 1, 1_000)).to.be.within(99, 101);
    limit = 0;
    expect(limits.allows(1, 1, LARGE, 2_000)).to.equal(false);
  });
});

describe('orders and limits', () => {
  /** Operators whose orders go nowhere. */
  function operatorsOf(storeLimit: number) {
    const world = new PlacementWorld(1, { storeLimit });
    world.addStores(5);
    const ids = Array.from({ length: 10 }, () => world.addRegion({ stores: [1, 2, 3] }));
    const sent: { report: RegionReport; order: Order }[] = [];
    const operators = new Operators({
      view: world.view,
      send: (report, order) => sent.push({ report, order }),
      changed: () => {},
    });
    const add = (
      id: number,
      kind: 'region' | 'admin' = 'region',
      step: Step = { kind: 'addLearner', store: 4 },
    ) =>
      operators.add([{ plan: { kind, by: 'spec', priority: 0, steps: [step] }, report: world.report(id) }]);
    return { world, ids, sent, operators, add };
  }

  it('start as many as the store may take, and the rest when it may again', async () => {
    const { world, ids, operators, add } = operatorsOf(60);
    for (const id of ids) add(id);
    const running = () => [...operators.all()].filter(({ state }) => state === 'running').length;
    expect(running()).to.equal(10);
    const tight = operatorsOf(15);
    for (const id of tight.ids) tight.add(id);
    const states = () => [...tight.operators.all()].map(({ state }) => state);
    expect(states().filter((state) => state === 'running')).to.have.length(2);
    await tight.world.clock.advance(2_000);
    tight.operators.tick();
    expect(states().filter((state) => state === 'running')).to.have.length(3);
    expect(world.view.limitOf(4)).to.equal(60);
  });

  it('of an administrator do not wait, and leaders cost nothing', () => {
    const { ids, operators, add } = operatorsOf(0);
    const [first = 0, second = 0, third = 0] = ids;
    add(first, 'admin');
    add(second, 'region', { kind: 'transferLeader', store: 2 });
    add(third, 'region');
    expect([first, second, third].map((id) => operators.of(id)?.state)).to.deep.equal([
      'running',
      'running',
      'waiting',
    ]);
  });

  it('are sent when they are begun, again after 2 s without a heartbeat, and with each heartbeat', async () => {
    const { world, ids, sent, operators, add } = operatorsOf(15);
    const [id = 0] = ids;
    add(id);
    expect(sent).to.have.length(1);
    await world.clock.advance(1_900);
    operators.tick();
    expect(sent).to.have.length(1);
    await world.clock.advance(100);
    operators.tick();
    expect(sent).to.have.length(2);
    expect(operators.heard(world.report(id))?.changePeer?.peer?.storeId).to.equal(4);
    await world.clock.advance(1_999);
    operators.tick();
    expect(sent).to.have.length(2);
    await world.clock.advance(1);
    operators.tick();
    expect(sent).to.have.length(3);
  });

  it('that wait are at most 1,024', () => {
    const world = new PlacementWorld(1, { storeLimit: 0 });
    world.addStores(4);
    const operators = new Operators({ view: world.view, send: () => {}, changed: () => {} });
    const results = Array.from({ length: 1_030 }, () => {
      const report = world.report(world.addRegion({ stores: [1, 2, 3] }));
      return operators.add([
        {
          plan: { kind: 'region', by: 'spec', priority: 0, steps: [{ kind: 'addLearner', store: 4 }] },
          report,
        },
      ]);
    });
    expect(results.filter((refused) => refused === undefined)).to.have.length(1_024);
    expect(results.at(-1)).to.contain('wait');
  });

  it('that have ended are remembered, the last 1,000', () => {
    const { ids, operators, add } = operatorsOf(0);
    const [id = 0] = ids;
    for (let i = 0; i < 1_005; i++) {
      add(id);
      operators.cancel(id, `number ${i}`);
    }
    expect(operators.ended).to.have.length(1_000);
    expect(operators.ended[0]?.operator.reason).to.equal('number 1004');
    expect(operators.influence(4)).to.deep.include({ replicas: 0, leaders: 0, size: 0, leaderSize: 0 });
  });
});
