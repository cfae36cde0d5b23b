import { expect } from 'chai';
import { readEnvelopes } from '../../actors/envelopes.js';
import type { Database } from '../../cluster/client/database.js';
import type { RaftGroup } from '../../cluster/raft/group.js';
import type { StoreNode } from '../../cluster/store/index.js';
import type { StoreTuning } from '../../cluster/store/tuning.js';
import { StoreWorld } from './store-world.js';

const STORES = ['store-1', 'store-2', 'store-3'] as const;
type StoreName = (typeof STORES)[number];
const TICK_MS = 100;
const ELECTION_MS = 10 * TICK_MS;

/** A cluster of three stores with one region, and an ear on what they say to each other. */
class Night {
  readonly world = new StoreWorld();
  readonly stores = new Map<StoreName, StoreNode>();
  readonly #tuning: StoreTuning;
  /** Kinds of messages between stores that were delivered, with how often. */
  heard: Record<string, number> = {};
  db: Database | undefined;

  private constructor(tuning: StoreTuning) {
    this.#tuning = tuning;
  }

  static async fall(tuning: StoreTuning = {}): Promise<Night> {
    const night = new Night(tuning);
    await night.world.scheduler(3);
    for (const name of STORES) await night.start(name);
    night.db = await night.world.client();
    await night.put('k', 'v');
    night.world.network.trace(({ from, to, bytes, lane }) => {
      if (lane === 'bulk' || !from.startsWith('store-') || !to.startsWith('store-')) return;
      for (const { kind } of readEnvelopes(bytes)) night.heard[kind] = (night.heard[kind] ?? 0) + 1;
    });
    return night;
  }

  async start(name: StoreName): Promise<void> {
    this.stores.set(name, await this.world.store(name, { tuning: this.#tuning }));
  }

  crash(name: StoreName): void {
    this.world.crash(name);
    this.stores.delete(name);
  }

  group(name: StoreName): RaftGroup {
    const group = this.stores.get(name)?.replicas.get(1)?.raftGroup;
    if (group === undefined) throw new Error(`${name} has no group`);
    return group;
  }

  get groups(): RaftGroup[] {
    return [...this.stores.keys()].map((name) => this.group(name));
  }

  get leader(): StoreName {
    const leader = this.leaders[0];
    if (leader === undefined) throw new Error('nobody leads');
    return leader;
  }

  get leaders(): StoreName[] {
    return [...this.stores.keys()].filter((name) => this.group(name).isLeader);
  }

  get followers(): StoreName[] {
    return [...this.stores.keys()].filter((name) => !this.group(name).isLeader);
  }

  /** Everybody sleeps, and knows the same leader. */
  get asleep(): boolean {
    const [first] = this.groups;
    return this.groups.every(({ asleep, leader }) => asleep && leader !== 0 && leader === first?.leader);
  }

  put(key: string, value: string): Promise<void> {
    if (this.db === undefined) throw new Error('no client');
    return this.world.until(this.db.raw.put(key, value));
  }

  async get(key: string): Promise<string | undefined> {
    const value = await this.world.until(this.db?.raw.get(key) ?? Promise.reject(new Error('no client')));
    return value === undefined ? undefined : Buffer.from(value).toString();
  }

  /** @returns the milliseconds that it took */
  async until(what: string, condition: () => boolean, limit = 20_000): Promise<number> {
    const began = this.world.clock.now();
    if (!(await this.world.clock.runUntil(condition, limit)))
      throw new Error(`${what} within ${limit} ms: no`);
    return this.world.clock.now() - began;
  }

  async sleeps(): Promise<void> {
    await this.until('everybody sleeps', () => this.asleep);
  }

  async hear(ms: number): Promise<Record<string, number>> {
    this.heard = {};
    await this.world.clock.advance(ms);
    return this.heard;
  }
}

/** Least and most that detection, waiting and an election may take: an election timeout is 20 ticks where a target is meant. */
const REPLACED_MS = [ELECTION_MS, 2 * ELECTION_MS + 3 * TICK_MS] as const;

describe('A region without traffic', () => {
  it('sends nothing and ticks nothing; only the stores tell each other that they are alive', async () => {
    const night = await Night.fall();
    await night.sleeps();
    const terms = night.groups.map(({ term }) => term);
    const heard = await night.hear(60_000);
    expect(Object.keys(heard)).to.deep.equal(['store.alive']);
    expect(heard['store.alive']).to.be.within(6 * 299, 6 * 301);
    expect(night.groups.map(({ term }) => term)).to.deep.equal(terms);
    expect([...night.stores.values()].map(({ counters }) => counters.awake)).to.deep.equal([0, 0, 0]);
  });

  it('falls asleep an election timeout after the last request, and not before', async () => {
    const night = await Night.fall();
    await night.sleeps();
    await night.put('k', 'w');
    const took = await night.until('everybody sleeps', () => night.asleep);
    expect(took).to.be.within(ELECTION_MS - TICK_MS, ELECTION_MS + 6 * TICK_MS);
    for (let i = 0; i < 20; i++) {
      expect(await night.get('k')).to.equal('w');
      await night.world.clock.advance(ELECTION_MS - TICK_MS);
      expect(night.group(night.leader).asleep).to.equal(false);
    }
  });

  it('stays awake where nothing may rest', async () => {
    const night = await Night.fall({ hibernate: false });
    const heard = await night.hear(10_000);
    expect(night.asleep).to.equal(false);
    expect(heard.raft).to.be.above(150);
  });

  it('stays awake as long as one store does not take part', async () => {
    const night = await Night.fall();
    const [first] = night.followers;
    night.world.network.filterEnvelopes(({ to }, { kind }) => to !== first || kind !== 'store.peerNotice');
    await night.world.clock.advance(10_000);
    expect(night.group(night.leader).asleep).to.equal(false);
  });

  for (const leaseReads of [false, true]) {
    it(`is woken by the first request, which is served${leaseReads ? ' (reads by lease)' : ''}`, async () => {
      const night = await Night.fall({ leaseReads });
      for (const act of [
        async () => expect(await night.get('k')).to.equal('v'),
        () => night.put('k', 'v'),
        async () => expect(await night.get('nothing')).to.equal(undefined),
      ]) {
        await night.sleeps();
        const { leader } = night;
        const term = night.group(leader).term;
        const began = night.world.clock.now();
        await act();
        expect(night.world.clock.now() - began).to.be.below(TICK_MS);
        expect(night.groups.some(({ asleep }) => !asleep)).to.equal(true);
        await night.sleeps();
        expect([night.leader, night.group(leader).term], 'nobody had to be elected').to.deep.equal([
          leader,
          term,
        ]);
      }
    });
  }

  it('elects within an election timeout when the store of its sleeping leader dies', async () => {
    for (let round = 0; round < 10; round++) {
      const night = await Night.fall();
      await night.sleeps();
      await night.world.clock.advance(5_000 + 37 * round);
      night.crash(night.leader);
      const took = await night.until('a new leader', () => night.leaders.length > 0);
      expect(took).to.be.within(...REPLACED_MS);
      expect(await night.get('k')).to.equal('v');
      await night.put('k', 'w');
      await night.sleeps();
    }
  });

  it('goes on sleeping when the store of a follower dies, and brings it up to date when it is back', async () => {
    const night = await Night.fall();
    await night.sleeps();
    const [lost = 'store-1'] = night.followers;
    night.crash(lost);
    await night.hear(5_000);
    expect(night.asleep).to.equal(true);
    expect(night.heard.raft ?? 0).to.equal(0);
    await night.put('k', 'w');
    await night.sleeps();
    expect(await night.hear(10_000)).to.have.all.keys('store.alive');
    await night.start(lost);
    await night.sleeps();
    expect(night.group(lost).applied).to.equal(night.group(night.leader).applied);
    expect(night.group(lost).leader).to.equal(night.group(night.leader).peerId);
  });

  it('brings a follower up to date that was cut off, and did not restart', async () => {
    const night = await Night.fall();
    await night.sleeps();
    const [lost = 'store-1', other = 'store-2'] = night.followers;
    const { leader } = night;
    night.world.network.partition([lost], [leader, other]);
    await night.world.clock.advance(3_000);
    await night.put('k', 'w');
    await night.until('the others sleep', () => night.group(leader).asleep && night.group(other).asleep);
    await night.world.clock.advance(10_000);
    night.world.network.heal();
    await night.sleeps();
    expect(night.group(lost).applied).to.equal(night.group(night.leader).applied);
  });

  it('does not sleep without a majority, and its leader steps down', async () => {
    const night = await Night.fall();
    await night.sleeps();
    const { leader } = night;
    for (const follower of night.followers) night.crash(follower);
    await night.world.clock.advance(5_000);
    void night.db?.raw.put('k', 'w', { timeout: 5_000 }).catch(() => {});
    await night.until('it steps down', () => !night.group(leader).isLeader, 3 * ELECTION_MS);
  });

  it('elects when its leader has restarted before anybody missed it', async () => {
    for (const leaseReads of [false, true]) {
      const night = await Night.fall({ leaseReads });
      await night.sleeps();
      await night.world.clock.advance(5_000);
      const { leader } = night;
      night.crash(leader);
      await night.start(leader);
      const took = await night.until('a new leader', () => night.leaders.length > 0);
      expect(took).to.be.below(2 * ELECTION_MS);
      expect(await night.get('k')).to.equal('v');
    }
  });

  it('tells a restarted follower who leads without waking anybody else', async () => {
    const night = await Night.fall();
    await night.sleeps();
    const { leader } = night;
    const [again = 'store-1', other = 'store-2'] = night.followers;
    night.crash(again);
    let woken = 0;
    await night.start(again);
    night.world.network.trace(() => {
      if (!night.group(leader).asleep || !night.group(other).asleep) woken++;
    });
    await night.until(
      'it knows',
      () => night.group(again).leader === night.group(leader).peerId,
      ELECTION_MS,
    );
    await night.sleeps();
    expect(woken).to.equal(0);
    expect((await night.hear(10_000)).raft).to.equal(undefined);
  });

  it('goes on sleeping when a follower is back that it has left out, and that lacks nothing', async () => {
    const night = await Night.fall();
    await night.sleeps();
    const { leader } = night;
    const [again = 'store-1', other = 'store-2'] = night.followers;
    const { peerId: peer } = night.group(again);
    night.crash(again);
    await night.world.clock.advance(3_000);
    await night.get('k');
    await night.sleeps();
    expect(night.group(leader).leavesOut(peer)).to.equal(true);
    await night.start(again);
    let woken = 0;
    night.world.network.trace(() => {
      if (!night.group(leader).asleep || !night.group(other).asleep) woken++;
    });
    await night.sleeps();
    expect(woken).to.equal(0);
    await night.world.clock.advance(30_000);
    expect(night.group(leader).leavesOut(peer)).to.equal(false);
    expect(woken).to.equal(0);
  });

  it('goes back to a follower that it has left out, though all that it says at first is lost', async () => {
    const night = await Night.fall();
    await night.sleeps();
    const { leader } = night;
    const [again = 'store-1', other = 'store-2'] = night.followers;
    night.world.network.partition([again], [leader, other]);
    await night.world.clock.advance(3_000);
    await night.put('k', 'w');
    await night.until('the others sleep', () => night.group(leader).asleep && night.group(other).asleep);
    let deaf = true;
    night.world.network.filterEnvelopes(({ from, to }, { kind }) => {
      return !deaf || kind === 'store.alive' || (from !== again && to !== again);
    });
    night.world.network.heal();
    await night.until('it sleeps again', () => night.group(leader).asleep, 30_000);
    deaf = false;
    await night.sleeps();
    expect(night.group(again).applied).to.equal(night.group(leader).applied);
  });

  it('is led by others as soon as the store of its leader is stopped in good order', async () => {
    const night = await Night.fall();
    await night.sleeps();
    await night.world.clock.advance(5_000);
    const { leader } = night;
    const store = night.stores.get(leader);
    night.stores.delete(leader);
    if (store !== undefined) await night.world.until(store.close());
    const took = await night.until('a new leader', () => night.leaders.length > 0);
    expect(took).to.be.at.most(ELECTION_MS);
  });

  it('elects sooner than any timeout when all stores have restarted', async () => {
    const night = await Night.fall();
    await night.sleeps();
    for (const name of STORES) night.crash(name);
    for (const name of STORES) await night.start(name);
    const took = await night.until('a new leader', () => night.leaders.length > 0);
    expect(took).to.be.below(ELECTION_MS);
    expect(await night.get('k')).to.equal('v');
    await night.sleeps();
  });

  it('looks for another leader when somebody misses a sleeping one whose peer has stopped', async () => {
    const night = await Night.fall();
    await night.sleeps();
    const { leader } = night;
    // Not even the word that it ends arrives.
    night.world.network.filterEnvelopes(
      ({ from }, { kind }) => from !== leader || kind !== 'store.peerNotice',
    );
    night.group(leader).fail(new Error('an invariant that broke'));
    await night.world.clock.advance(60_000);
    expect(night.leaders).to.deep.equal([]);
    expect(await night.get('k')).to.equal('v');
  });

  it('hears from its leader that it stops', async () => {
    const night = await Night.fall();
    await night.sleeps();
    night.group(night.leader).fail(new Error('an invariant that broke'));
    // The store goes on to speak, so that nothing but this would wake them; then each waits as long as it has drawn.
    const took = await night.until('a new leader', () => night.leaders.length > 0);
    expect(took).to.be.below(2 * ELECTION_MS);
  });

  for (const leaseReads of [false, true]) {
    it(`serves no stale read from a sleeping leader that was cut off${leaseReads ? ' (reads by lease)' : ''}`, async () => {
      const night = await Night.fall({ leaseReads });
      await night.get('k');
      await night.sleeps();
      const old = night.leader;
      const others = night.followers;
      night.world.network.partition([old], [...others, 'client-1', 'scheduler-1']);
      await night.until('a new leader', () => others.some((name) => night.group(name).isLeader));
      expect(night.group(old).isLeader && night.group(old).asleep, 'it does not know').to.equal(true);
      // A write would wait for the old leader.
      expect(await night.get('k')).to.equal('v');
      await night.put('k', 'new');
      let served = false;
      night.group(old).read((outcome) => {
        served = outcome.ok;
      });
      await night.world.clock.advance(5_000);
      expect(served).to.equal(false);
      expect(night.group(old).isLeader).to.equal(false);
      night.world.network.heal();
      await night.sleeps();
      expect(night.leaders.length).to.equal(1);
    });
  }

  it('survives the loss of any of its notices', async () => {
    for (let lost = 0; lost < 12; lost++) {
      const night = await Night.fall();
      let notices = 0;
      night.world.network.filterEnvelopes(
        (_frame, { kind }) => kind !== 'store.peerNotice' || notices++ !== lost,
      );
      await night.sleeps();
      const { leader } = night;
      const { term } = night.group(leader);
      await night.put('k', 'w');
      await night.sleeps();
      expect([night.leader, night.group(leader).term]).to.deep.equal([leader, term]);
    }
  });

  it('goes through messages that are lost, doubled and late without an election', async () => {
    const night = await Night.fall();
    const { leader } = night;
    const { term } = night.group(leader);
    night.world.network.faults = { delay: [0, 60], loss: 0.1, duplicate: 0.2, reorder: 0.3 };
    for (let i = 0; i < 30; i++) {
      await night.world.clock.advance(2_000);
      // The request itself may be lost: it has woken nobody then.
      await night.get('k').catch((error: unknown) => expect(error).to.have.property('code', 'timeout'));
    }
    expect([night.leader, night.group(leader).term]).to.deep.equal([leader, term]);
    night.world.network.faults = { delay: [0, 1], loss: 0, duplicate: 0, reorder: 0 };
    await night.sleeps();
  });
});
