import { expect } from 'chai';
import { silentLogger, VirtualClock } from '../../actors/index.js';
import { TroupeError } from '../../cluster/errors.js';
import type { SchedulerClient } from '../../cluster/pd-client.js';
import { pdpb } from '../../cluster/proto/index.js';
import { FlowCount } from '../../cluster/store/region-flow.js';
import { RegionHeartbeats } from '../../cluster/store/region-heartbeats.js';
import type { RegionReplica } from '../../cluster/store/replica.js';
import { Reporter } from '../../cluster/store/reporter.js';
import { StoreSafePoints } from '../../cluster/store/safe-points.js';
import { metapb } from '../../storage/proto/index.js';

const REGIONS = 10_000;
/** Milliseconds that one heartbeat takes of the store's event loop, and that the loop may be held at a time. */
const HEARTBEAT_MS = 0.1;
const HELD_MS = 20;

/** A region that sleeps on its leader, as far as heartbeats see one. */
function restingRegion(id: number): RegionReplica {
  const peer = { id: id + 1, storeId: 1, role: metapb.PeerRole.Voter };
  const other = { id: id + 2, storeId: 2, role: metapb.PeerRole.Voter };
  const region = metapb.Region.from({ id, regionEpoch: { confVer: 1, version: 1 }, peers: [peer, other] });
  const whole = { match: 9, state: 'replicate', recentActive: true, wasActive: true };
  const raft = { firstIndex: 6, memberProgress: () => whole };
  const raftGroup = { isLeader: true, asleep: true, term: 6, peerId: peer.id, raft };
  const flow = new FlowCount();
  return { region, peer, raftGroup, flow, size: { bytes: 0, keys: 0 } } as unknown as RegionReplica;
}

/** A store with ten thousand regions, whose clock goes on only with work and with waiting. */
class Store {
  readonly world = new VirtualClock();
  busyMs = 0;
  /** The longest time for which the loop was held. */
  heldMs = 0;
  told = 0;
  unanswered = 0;
  mostUnanswered = 0;
  answer: () => Promise<pdpb.RegionHeartbeatResponse> = async () => pdpb.RegionHeartbeatResponse.from({});
  missing = false;
  readonly answers: pdpb.RegionHeartbeatResponse[] = [];
  readonly replicas = new Map(Array.from({ length: REGIONS }, (_, i) => [i + 1, restingRegion(10 * i)]));
  readonly heartbeats: RegionHeartbeats;

  constructor() {
    const { world } = this;
    const measured = (fn: () => void) => () => this.hold(fn);
    this.heartbeats = new RegionHeartbeats({
      clock: {
        now: () => world.now() + this.busyMs,
        setTimeout: (fn, ms) => world.setTimeout(measured(fn), ms),
        clearTimeout: (handle) => world.clearTimeout(handle),
        immediate: (fn) => world.immediate(measured(fn)),
      },
      logger: silentLogger,
      replicas: this.replicas,
      durableRegion: ({ region }) => region,
      unixSeconds: () => Math.floor((world.now() + this.busyMs) / 1000),
      silenceOf: (storeId) => (this.missing && storeId === 2 ? 1_000 : undefined),
      answered: (answer) => this.answers.push(answer),
      scheduler: { regionHeartbeat: () => this.#ask() } as unknown as SchedulerClient,
    });
  }

  async #ask(): Promise<pdpb.RegionHeartbeatResponse> {
    this.busyMs += HEARTBEAT_MS;
    this.told++;
    this.unanswered++;
    this.mostUnanswered = Math.max(this.mostUnanswered, this.unanswered);
    await new Promise<void>((resolve) => void this.world.setTimeout(resolve, 2));
    this.unanswered--;
    return this.answer();
  }

  hold(fn: () => void): void {
    const before = this.busyMs;
    fn();
    this.heldMs = Math.max(this.heldMs, this.busyMs - before);
  }

  /** A second as the store's node has it. */
  async second(): Promise<void> {
    this.hold(() => this.heartbeats.tellDue());
    await this.world.advance(1_000);
  }
}

describe('Heartbeats of ten thousand regions', () => {
  it('are spread, and not asked beyond what is answered, when a new scheduler leads', async () => {
    const store = new Store();
    for (let round = 1; round <= 2; round++) {
      store.heartbeats.tellAll();
      for (let second = 0; second < 3; second++) await store.second();
      expect(store.told, `told in round ${round}`).to.equal(round * REGIONS);
    }
    expect(store.heldMs).to.be.within(1, HELD_MS);
    expect(store.mostUnanswered).to.be.at.most(512);
  });

  it('are once a minute where nothing happens', async () => {
    const store = new Store();
    for (let second = 0; second < 59; second++) await store.second();
    expect(store.told).to.equal(REGIONS);
  });

  it('tell within two seconds of a store that is gone, and then of each region every ten seconds', async () => {
    const store = new Store();
    for (let second = 0; second < 5; second++) await store.second();
    store.missing = true;
    for (let second = 0; second < 2; second++) await store.second();
    expect(store.told).to.equal(2 * REGIONS);
    for (let second = 0; second < 10; second++) await store.second();
    expect(store.told).to.equal(3 * REGIONS);
    store.missing = false;
    for (let second = 0; second < 2; second++) await store.second();
    expect(store.told).to.equal(4 * REGIONS);
    expect(store.heldMs).to.be.at.most(HELD_MS);
  });

  it('that nobody answers are no more than a bound, and all come when somebody does', async () => {
    const store = new Store();
    const { answer } = store;
    store.answer = () => Promise.reject(new TroupeError('unavailable', 'no scheduler'));
    for (let second = 0; second < 3; second++) await store.second();
    for (const replica of store.replicas.values()) store.heartbeats.regionChanged(replica);
    expect(store.mostUnanswered).to.be.at.most(512);
    store.answer = answer;
    for (let second = 0; second < 4; second++) await store.second();
    expect(new Set(store.answers).size).to.be.at.least(REGIONS);
  });
});

describe('The heartbeat of a store', () => {
  it('tells of its snapshots, and that it is busy while it refuses requests', async () => {
    const clock = new VirtualClock();
    const told: pdpb.StoreStats[] = [];
    let refused = 0;
    let lost = false;
    const scheduler = {
      storeHeartbeat: async (stats: pdpb.StoreStats) => {
        if (lost) throw new TroupeError('unavailable', 'lost');
        told.push(stats);
        return pdpb.StoreHeartbeatResponse.from({ term: 1 });
      },
    } as unknown as SchedulerClient;
    const reporter = new Reporter({
      scheduler,
      clock,
      logger: silentLogger,
      replicas: new Map(),
      identity: { cluster: 'spec', node: 'store-1', clusterId: 7, storeId: 1, incarnation: 1, format: 1 },
      pid: 1,
      startTime: 100,
      diskUsage: async () => ({ capacity: 3, available: 2, used: 1 }),
      flow: new FlowCount(),
      snapshots: () => ({ sending: 1, receiving: 2, applying: 3 }),
      refusedAsBusy: () => refused,
      durableRegion: ({ region }) => region,
      silenceOf: () => undefined,
      answered: () => {},
      safePoints: new StoreSafePoints(clock),
      garbageDue: () => {},
      displaced: (error) => {
        throw error;
      },
    });
    const beat = async () => {
      reporter.report();
      await clock.advance(1_000);
      return told.at(-1);
    };
    expect(await beat()).to.deep.include({
      sendingSnapCount: 1,
      receivingSnapCount: 2,
      applyingSnapCount: 3,
    });
    expect((await beat())?.isBusy).to.equal(false);
    refused = 2;
    lost = true;
    await beat();
    lost = false;
    expect((await beat())?.isBusy, 'what a lost heartbeat said is said again').to.equal(true);
    expect(told.at(-1)?.interval).to.deep.equal({ startTimestamp: 101, endTimestamp: 103 });
    expect((await beat())?.isBusy).to.equal(false);
  });
});
