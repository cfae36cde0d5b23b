import { expect } from 'chai';
import { silentLogger, VirtualClock } from '../../actors/index.js';
import { Collector, type KeyRange, type LockLink } from '../../cluster/gc/index.js';
import { SAFE_POINT_WAIT_MS } from '../../cluster/safe-point-lease.js';
import { SafePointRecord } from '../../cluster/scheduler/safe-point-record.js';
import { composeTimestamp } from '../../cluster/timestamp.js';

const bytes = (text: string) => new Uint8Array(Buffer.from(text));
const text = (key: Uint8Array) => Buffer.from(key).toString();
const NO_BATCH = { put: () => {}, delete: () => {} } as never;

/** The collector over fakes: stores that heed what they are told, locks in a list. */
class CollectorWorld implements LockLink {
  readonly clock = new VirtualClock();
  readonly points = new SafePointRecord({ safePoints: bytes('p'), service: (id) => id });
  config = { gcEnabled: true, gcLifeTime: 1_000, gcInterval: 500 };
  /** By user key: start timestamps. */
  readonly locks = new Map<string, bigint>();
  ranges: KeyRange[] = [{ start: bytes(''), end: bytes('') }];
  heeded = [2n ** 63n];
  /** What happened, in order. */
  readonly log: string[] = [];
  /** Locks found by one step at most. */
  page = 2;
  fails: Error | undefined;
  stuck = false;
  atOnce = 0;
  mostAtOnce = 0;
  links = 0;
  readonly collector: Collector;

  constructor() {
    const { clock, points } = this;
    this.collector = new Collector({
      clock,
      wallClock: () => clock.now(),
      logger: silentLogger,
      ready: () => true,
      config: () => this.config,
      safePoints: () => points,
      timestamp: async () => composeTimestamp(Math.floor(clock.now()), 0),
      advance: async (wanted) => {
        points.advance(wanted, NO_BATCH);
        this.log.push(wanted.gcSafePoint > 0n ? 'gc' : 'transaction');
      },
      heeded: () => this.heeded,
      ranges: () => this.ranges,
      link: () => {
        this.links++;
        return this;
      },
    });
    this.collector.start();
  }

  async resolve({ start, end }: KeyRange, safePoint: bigint, signal: AbortSignal) {
    this.mostAtOnce = Math.max(this.mostAtOnce, ++this.atOnce);
    await new Promise<void>((done) => this.clock.setTimeout(done, 1));
    this.atOnce--;
    if (this.stuck)
      await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
    if (this.fails !== undefined) throw this.fails;
    const inside = [...this.locks.keys()]
      .filter((key) => key >= text(start) && (end.length === 0 || key < text(end)))
      .filter((key) => (this.locks.get(key) ?? 0n) <= safePoint)
      .sort();
    const found = inside.slice(0, this.page);
    for (const key of found) this.locks.delete(key);
    this.log.push(`${text(start)}-${text(end)}: ${found.join(' ')}`);
    const last = found.at(-1);
    return { locks: found.length, next: inside.length > this.page && last ? bytes(`${last}\0`) : undefined };
  }

  close(): void {
    this.links--;
  }

  async pass(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += 100) {
      await this.clock.advance(100);
      this.collector.tick();
      await this.clock.advance(0);
    }
  }
}

const at = (ms: number) => composeTimestamp(ms, 0);

describe('the collector', () => {
  let world: CollectorWorld;
  beforeEach(async () => {
    world = new CollectorWorld();
    await world.clock.advance(10_000);
  });

  it('resolves every lock below the transaction safe point before it raises the GC safe point', async () => {
    for (const key of ['a', 'b', 'c', 'd', 'e']) world.locks.set(key, at(5_000));
    world.locks.set('young', at(9_990));
    await world.pass(400);
    expect(world.log[0]).to.equal('transaction');
    expect(world.log.at(-1)).to.equal('gc');
    expect(world.log.slice(1, -1)).to.deep.equal(['-: a b', 'b\0-: c d', 'd\0-: e']);
    expect([...world.locks.keys()]).to.deep.equal(['young']);
    expect(world.points.gc).to.equal(world.points.transaction);
    expect(world.collector.told().last).to.include({ locks: 5, regions: 1, regionsDone: 1, failure: '' });
    expect(world.links).to.equal(0);
  });

  it('works on a bounded number of ranges at once', async () => {
    world.ranges = Array.from({ length: 20 }, (_, i) => ({
      start: bytes(`${10 + i}`),
      end: bytes(`${11 + i}`),
    }));
    await world.pass(400);
    expect(world.points.gc).to.equal(world.points.transaction);
    expect(world.mostAtOnce).to.equal(4);
    expect(world.collector.told().last).to.include({ regions: 20, regionsDone: 20 });
  });

  it('looks for no lock before every store heeds the safe point', async () => {
    world.heeded = [2n ** 63n, 0n];
    await world.pass(1_000);
    expect(world.collector.state).to.equal('awaitingStores');
    expect(world.log).to.deep.equal(['transaction']);
    world.heeded = [2n ** 63n, world.points.transaction];
    await world.pass(400);
    expect(world.log).to.include('gc');
  });

  it('waits no longer for a store than that trusts what it knew', async () => {
    world.heeded = [0n];
    await world.pass(SAFE_POINT_WAIT_MS);
    expect(world.points.gc).to.equal(0n);
    await world.pass(300);
    expect(world.points.gc > 0n).to.equal(true);
  });

  it('raises nothing where locks cannot be resolved, says why, and tries again', async () => {
    world.fails = new Error('region 7 has no leader');
    await world.pass(400);
    expect(world.collector.state).to.equal('failed');
    expect(world.collector.told().last?.failure).to.equal('region 7 has no leader');
    expect(world.points.gc).to.equal(0n);
    expect(world.links).to.equal(0);
    world.fails = undefined;
    await world.pass(4_000);
    expect(world.points.gc).to.equal(0n);
    await world.pass(2_000);
    expect(world.points.gc > 0n).to.equal(true);
  });

  it('ends what is under way when leadership is lost, and raises nothing then', async () => {
    world.stuck = true;
    await world.pass(400);
    expect(world.collector.state).to.equal('resolvingLocks');
    world.collector.stop();
    world.stuck = false;
    await world.pass(2_000);
    expect([world.points.gc, world.links]).to.deep.equal([0n, 0]);
    expect(world.collector.told()).to.deep.equal({ state: 'idle', round: undefined, last: undefined });
  });

  it('goes on with a round that an earlier leader began, without waiting for an interval', async () => {
    world.points.advance({ txnSafePoint: at(8_900), gcSafePoint: 0n, now: 1 }, NO_BATCH);
    world.config = { ...world.config, gcInterval: 60_000 };
    await world.pass(400);
    expect(world.points.gc >= at(8_900)).to.equal(true);
  });

  it('counts a round that a service holds back as done', async () => {
    const serviceId = bytes('s');
    world.points.put({ serviceId, safePoint: 0n, expiresAt: 1e9, now: 0 }, NO_BATCH);
    await world.pass(400);
    expect(world.collector.state).to.equal('idle');
    expect(world.log).to.deep.equal(['transaction']);
    expect(world.collector.told().last).to.include({ failure: '', safePoint: 0n });
  });
});
