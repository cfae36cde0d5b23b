import { expect } from 'chai';
import { silentLogger, VirtualClock } from '../../actors/index.js';
import type { SchedulerClient } from '../../cluster/pd-client.js';
import type { RegionReplica } from '../../cluster/store/replica.js';
import { Reporter } from '../../cluster/store/reporter.js';
import type { StoreIdentity } from '../../storage/index.js';
import { metapb } from '../../storage/proto/index.js';

const REGIONS = 10_000;

/** A leader's replica, as far as what it tells. */
function replica(id: number): RegionReplica {
  const group = {
    isLeader: true,
    asleep: false,
    stopped: false,
    term: 6,
    status: () => ({ progress: new Map() }),
  };
  const peers = [{ id: id + 1, storeId: 1, role: metapb.PeerRole.Voter }];
  const region = metapb.Region.from({ id, peers });
  return {
    region,
    peer: peers[0],
    group,
    raftGroup: group,
    attached: true,
    size: {},
  } as unknown as RegionReplica;
}

/** A scheduler that answers after a millisecond, or not at all. */
class Told {
  term = 1;
  answers = true;
  underWay = 0;
  most = 0;
  readonly clock = new VirtualClock();
  readonly heartbeats: { readonly id: number; readonly at: number }[] = [];
  readonly reporter: Reporter;

  constructor() {
    const scheduler = {
      storeHeartbeat: () => this.#after(1, { term: this.term }),
      regionHeartbeat: async ({ region }: { region: metapb.Region }) => {
        this.heartbeats.push({ id: region.id, at: this.clock.now() });
        this.most = Math.max(this.most, ++this.underWay);
        try {
          await this.#after(this.answers ? 1 : 5_000, {});
        } finally {
          this.underWay--;
        }
      },
    } as unknown as SchedulerClient;
    this.reporter = new Reporter({
      scheduler,
      identity: { storeId: 1, incarnation: 1 } as StoreIdentity,
      clock: this.clock,
      logger: silentLogger,
      pid: 1,
      startTime: 1,
      diskUsage: async () => ({ capacity: 3, available: 2, used: 1 }),
      replicas: new Map(Array.from({ length: REGIONS }, (_, i) => [i, replica(i)])),
      durableRegion: ({ region }) => region,
      displaced: () => {},
    });
  }

  #after<T>(ms: number, value: T): Promise<T> {
    const { answers } = this;
    return new Promise((resolve, reject) =>
      this.clock.setTimeout(() => (answers ? resolve(value) : reject(new Error('lost'))), ms),
    );
  }

  /** Different regions told since then. */
  since(at: number): number {
    return new Set(this.heartbeats.filter((one) => one.at >= at).map(({ id }) => id)).size;
  }
}

describe('what a store tells the scheduler', () => {
  let told: Told;

  beforeEach(() => {
    told = new Told();
    told.reporter.start(() => told.reporter.report());
  });
  afterEach(() => told.reporter.stop());

  it('of all its regions reaches a new leader within two seconds', async () => {
    await told.clock.advance(5_500);
    told.term = 2;
    const from = told.clock.now();
    await told.clock.advance(2_000);
    expect(told.since(from)).to.equal(REGIONS);
    expect(told.most, 'at once').to.be.at.most(512);
  });

  it('is said once in ten seconds while nothing changes', async () => {
    await told.clock.advance(2_000);
    const before = told.heartbeats.length;
    expect(told.since(0)).to.equal(REGIONS);
    await told.clock.advance(7_500);
    expect(told.heartbeats.length).to.equal(before);
    await told.clock.advance(4_000);
    expect(told.heartbeats.length - before).to.equal(REGIONS);
  });

  it('does not pile up while no scheduler answers, and is all told afterwards', async () => {
    told.answers = false;
    await told.clock.advance(30_000);
    expect(told.most, 'under way').to.be.at.most(512);
    told.answers = true;
    const from = told.clock.now();
    await told.clock.advance(10_000);
    expect(told.since(from)).to.equal(REGIONS);
  });
});
