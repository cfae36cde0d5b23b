import { expect } from 'chai';
import {
  DEFAULT_WANTED,
  type InspectionBatch,
  InspectionObserver,
  type InspectionRecord,
  type Wanted,
} from '../../actors/index.js';
import {
  isOperatorItem,
  isPlacementItem,
  isRaftItem,
  isRegionItem,
  isStoreItem,
  isTxnNote,
  type RaftItem,
  type RegionItem,
} from '../../cluster/inspection/items.js';
import { QuietSteps } from '../../machines/raft/quiet-steps.js';
import { StoreWorld } from './store-world.js';

const WANTED: Wanted = { paths: [''], every: 0, perSecond: 5000 };

class Watched {
  readonly world = new StoreWorld();
  readonly told: { readonly node: string; readonly record: InspectionRecord }[] = [];
  readonly raft = new Map<string, RaftItem>();
  regions = new Map<number, RegionItem>();
  observer: InspectionObserver | undefined;

  async start(stores: number): Promise<void> {
    const scheduler = this.world.scheduler(stores);
    await scheduler;
    for (let i = 1; i <= stores; i++) await this.world.store(`store-${i}`);
    await this.world.clock.advance(5_000);
  }

  async look(wanted = WANTED): Promise<void> {
    this.observer = await InspectionObserver.open({
      watcher: 'spec',
      clock: this.world.clock,
      open: this.world.network.observer,
      onBatch: (batch) => this.#take(batch),
    });
    this.observer.want('all', wanted);
    await this.world.clock.advance(1_000);
  }

  #take({ node, records }: InspectionBatch): void {
    for (const record of records) {
      this.told.push({ node, record });
      if (record.kind !== 'state') continue;
      for (const item of record.items) {
        if (record.topic === 'raft' && isRaftItem(item)) this.raft.set(node, item);
        if (record.topic === 'regions' && isRegionItem(item)) this.regions.set(item.id, item);
      }
    }
  }

  items(topic: string): unknown[] {
    return this.told.flatMap(({ record }) =>
      record.kind === 'state' && record.topic === topic ? record.items : [],
    );
  }

  leader(): string | undefined {
    return [...this.raft].find(([node, { role }]) => node.startsWith('store-') && role === 'leader')?.[0];
  }
}

describe('what a cluster shows to inspectors', () => {
  it('is its stores, regions and raft groups, each in the words that inspectors know', async () => {
    const watched = new Watched();
    await watched.start(3);
    expect(watched.world.network.counts.shown).to.equal(0);
    await watched.look();
    expect(watched.items('stores').filter(isStoreItem)).to.have.length.of.at.least(3);
    expect(watched.items('stores').every(isStoreItem)).to.equal(true);
    expect(watched.items('placement').every(isPlacementItem)).to.equal(true);
    expect(watched.items('raft').every(isRaftItem)).to.equal(true);
    expect(watched.items('regions').every(isRegionItem)).to.equal(true);
    expect(watched.items('operators').every(isOperatorItem)).to.equal(true);
    const [region] = watched.regions.values();
    expect(region?.peers.map(({ store }) => store)).to.have.length(3);
    const leader = watched.leader();
    expect(leader).to.be.a('string');
    expect([...watched.raft.values()].filter(({ role }) => role === 'follower')).to.have.length(2);
    const introduced = watched.told.flatMap(({ node, record }) =>
      record.kind === '@xstate.actor' && record.path.endsWith('/raft')
        ? [{ node, value: record.snapshot?.value, context: record.snapshot?.context }]
        : [],
    );
    const leading = introduced.find(({ node }) => node === leader);
    expect(JSON.stringify(leading?.value)).to.contain('leader');
    expect(leading?.context).to.be.an('object').that.includes.keys('term', 'vote', 'commit', 'members');
  });

  it('shows the next leader when one dies', async () => {
    const watched = new Watched();
    await watched.start(3);
    await watched.look();
    const dead = watched.leader() ?? '';
    watched.world.crash(dead);
    watched.raft.delete(dead);
    watched.told.length = 0;
    await watched.world.clock.advance(4_000);
    const next = watched.leader();
    expect(next).to.be.a('string').and.not.equal(dead);
    const steps = watched.told.flatMap(({ node, record }) =>
      node === next && record.kind === '@xstate.snapshot' && record.path.endsWith('/raft')
        ? [JSON.stringify(record.snapshot?.value)]
        : [],
    );
    expect(steps.some((value) => value.includes('andidate'))).to.equal(true);
    expect(steps.at(-1)).to.contain('leader');
  });

  it('follows a transaction through its region', async () => {
    const watched = new Watched();
    await watched.start(3);
    await watched.look();
    const db = await watched.world.client();
    const done = db.transaction(async (txn) => {
      txn.put('a', '1');
      txn.put('b', '2');
    });
    await watched.world.until(done);
    await watched.world.clock.advance(500);
    const notes = watched.told.flatMap(({ record }) =>
      record.kind === 'note' && record.topic === 'txn' ? [record.detail] : [],
    );
    expect(notes.every(isTxnNote)).to.equal(true);
    const [first] = notes.filter(isTxnNote);
    expect(first).to.deep.include({ region: 1, keys: 2, key: 'a', primary: true });
    expect(first?.what).to.match(/^prewrite/);
    expect(first?.outcome).to.match(/^(ok|committed)/);
    await watched.world.until(db.close());
  });

  it('tells no byte of keys and values in what raft and stores handle', async () => {
    const watched = new Watched();
    await watched.start(3);
    await watched.look({ paths: [''], every: 1, perSecond: 20_000 });
    const db = await watched.world.client();
    for (let i = 0; i < 20; i++)
      await watched.world.until(db.raw.put(`confidential-${i}`, `classified-${i}`));
    await watched.world.clock.advance(500);
    const machines = watched.told.filter(({ record }) => record.kind.startsWith('@xstate'));
    expect(machines.length).to.be.above(100);
    expect(JSON.stringify(machines)).to.not.match(/confidential|classified/);
    await watched.world.until(db.close());
  });

  it('leaves the role machine the short way that it takes while nobody looks', async () => {
    const watched = new Watched();
    await watched.start(3);
    await watched.look(DEFAULT_WANTED);
    const db = await watched.world.client();
    await watched.world.until(db.raw.put('first', '1'));
    const { take } = QuietSteps.prototype;
    let [asked, taken] = [0, 0];
    QuietSteps.prototype.take = function (this: QuietSteps, context, event) {
      const done = take.call(this, context, event);
      asked++;
      if (done) taken++;
      return done;
    };
    try {
      for (let i = 0; i < 50; i++) await watched.world.until(db.raw.put(`key-${i}`, 'value'));
      await watched.world.clock.advance(2_000);
    } finally {
      QuietSteps.prototype.take = take;
    }
    expect(asked).to.be.above(500);
    expect(taken).to.equal(asked);
    await watched.world.until(db.close());
  });

  it('is nothing where a store is told to let nobody look', async () => {
    const watched = new Watched();
    await watched.world.scheduler(1);
    await watched.world.store('store-1', { inspection: false });
    await watched.world.clock.advance(5_000);
    await watched.look();
    const nodes = new Set(watched.told.map(({ node }) => node));
    expect([...nodes]).to.deep.equal(['scheduler-1']);
  });
});
