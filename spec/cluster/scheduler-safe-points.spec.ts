import { expect } from 'chai';
import fc from 'fast-check';
import type { SchedulerClient } from '../../cluster/pd-client.js';
import { pdpb } from '../../cluster/proto/index.js';
import { MAX_SERVICE_ID_BYTES, MAX_SERVICES } from '../../cluster/scheduler/safe-point-record.js';
import { type Command, encodeCommand, SchedulerState } from '../../cluster/scheduler/state.js';
import { composeTimestamp, physicalOf } from '../../cluster/timestamp.js';
import { EntryType } from '../../machines/raft/types.js';
import { SimulatedDisk } from '../../storage/index.js';
import { SchedulerWorld } from './scheduler-world.js';

const named = (name: string) => new Uint8Array(Buffer.from(name));
const MINUTE = 60_000;

describe('safe points in the replicated state', () => {
  let state: SchedulerState;
  let index: number;
  const noBatch = { put: () => {}, delete: () => {}, deleteRange: () => {} } as never;

  beforeEach(() => {
    state = new SchedulerState();
    index = 0;
  });

  function apply(command: Command) {
    const entry = { term: 6, index: ++index, type: EntryType.normal, data: encodeCommand(command) };
    return state.apply([entry], noBatch)[0] ?? expect.fail('no result');
  }

  const hold = (name: string, safePoint: bigint, expiresAt = 100, now = 0) =>
    apply({ putServiceSafePoint: { serviceId: named(name), safePoint, expiresAt, now } });
  const advance = (txnSafePoint: bigint, gcSafePoint = 0n, now = 0) =>
    apply({ advanceSafePoints: { txnSafePoint, gcSafePoint, now } });
  const points = () => [state.safePoints.transaction, state.safePoints.gc];

  it('never go back, whatever comes late', () => {
    advance(50n, 40n);
    advance(30n, 20n);
    advance(0n, 0n);
    expect(points()).to.deep.equal([50n, 40n]);
  });

  it('keep the GC safe point at or below the other', () => {
    advance(50n, 60n);
    expect(points()).to.deep.equal([50n, 50n]);
    advance(0n, 70n);
    expect(points()).to.deep.equal([50n, 50n]);
  });

  it('are held back by the earliest service, and by none whose time is over', () => {
    hold('a', 20n, 100);
    hold('b', 30n, 200);
    advance(50n, 50n, 99);
    expect(points()).to.deep.equal([20n, 20n]);
    advance(50n, 0n, 100);
    expect(points()).to.deep.equal([30n, 20n]);
    advance(50n, 0n, 200);
    expect(points()).to.deep.equal([50n, 20n]);
  });

  it('are not lowered by a service that comes too late, which is told so', () => {
    advance(50n);
    expect(hold('late', 49n)).to.deep.equal({ ok: true, held: false });
    expect(hold('in time', 50n)).to.deep.equal({ ok: true, held: true });
    advance(60n);
    expect(points()).to.deep.equal([50n, 0n]);
  });

  it('are let go by a service whose time is 0 or less, as often as it says so', () => {
    hold('a', 20n);
    hold('a', 0n, 0, 5);
    hold('a', 0n, 0, 5);
    advance(50n, 0n, 5);
    expect(points()).to.deep.equal([50n, 0n]);
  });

  it('take the last word of a service, and not that of a renewal that came too late', () => {
    hold('a', 20n, 100);
    hold('a', 40n, 100);
    advance(50n, 0n, 50);
    expect(points()).to.deep.equal([40n, 0n]);
    hold('a', 30n, 300, 50);
    advance(50n, 0n, 150);
    expect(points()).to.deep.equal([50n, 0n]);
  });

  it('know a bounded number of services; those whose time is over make room', () => {
    for (let i = 0; i < MAX_SERVICES; i++) hold(`service ${i}`, 1n, i === 7 ? 50 : 100);
    expect(hold('one more', 1n, 100, 49)).to.have.property('ok', false);
    expect(hold('service 3', 2n, 100, 49)).to.deep.equal({ ok: true, held: true });
    expect(hold('one more', 1n, 100, 50)).to.deep.equal({ ok: true, held: true });
  });

  it('are the same to every member, from the log or from the disk', async () => {
    const command: fc.Arbitrary<Command> = fc.oneof(
      fc.record({
        putServiceSafePoint: fc.record({
          serviceId: fc.constantFrom(named('a'), named('b'), Uint8Array.of(0xff, 0)),
          safePoint: fc.bigInt(0n, 50n),
          expiresAt: fc.nat(60),
          now: fc.nat(60),
        }),
      }),
      fc.record({
        advanceSafePoints: fc.record({
          txnSafePoint: fc.bigInt(0n, 60n),
          gcSafePoint: fc.bigInt(0n, 60n),
          now: fc.nat(60),
        }),
      }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(command, { maxLength: 30 }), fc.nat(30), async (commands, cut) => {
        const disk = new SimulatedDisk({ random: () => 0.5, latency: () => 0 });
        const engine = await disk.open();
        let member = new SchedulerState();
        const other = new SchedulerState();
        let before = [0n, 0n];
        for (const [i, one] of commands.entries()) {
          if (i === cut) member = await SchedulerState.load(engine);
          const entry = { term: 6, index: i + 1, type: EntryType.normal, data: encodeCommand(one) };
          const batch = engine.batch();
          expect(member.apply([entry], batch)).to.deep.equal(other.apply([entry], noBatch));
          await engine.write(batch);
          const { transaction, gc } = other.safePoints;
          expect([
            transaction >= (before[0] ?? 0n),
            gc >= (before[1] ?? 0n),
            gc <= transaction,
          ]).to.deep.equal([true, true, true]);
          before = [transaction, gc];
        }
        const told = ({ safePoints }: SchedulerState) => ({
          points: [safePoints.transaction, safePoints.gc],
          services: [...safePoints.services]
            .map(({ serviceId, ...rest }) => ({ ...rest, id: Buffer.from(serviceId).toString('hex') }))
            .sort((a, b) => a.id.localeCompare(b.id)),
        });
        expect(told(member)).to.deep.equal(told(other));
        expect(told(await SchedulerState.load(engine))).to.deep.equal(told(other));
        await engine.close();
      }),
      { numRuns: 60 },
    );
  });
});

describe('safe points, as a client asks for them', () => {
  let world: SchedulerWorld;
  let scheduler: SchedulerClient;

  const settle = <T>(promise: Promise<T>): Promise<T> => world.settle(promise);
  const hold = (name: string, ttl: number, safePoint: bigint) =>
    settle(scheduler.updateServiceSafePoint(named(name), ttl, safePoint, { timeout: 20_000 }));
  const now = () => settle(scheduler.timestamps(1, { timeout: 20_000 }));
  const points = () => settle(scheduler.safePoints({ timeout: 20_000 }));
  const status = () => settle(scheduler.gcStatus({ timeout: 20_000 }));

  /** Lets time pass, and the stores heed what they are told as they do. */
  async function pass(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += 1_000) {
      await world.clock.advance(1_000);
      for (const store of world.stores) {
        const heard = store.heartbeat({ txnSafePoint: (await points()).transaction });
        await settle(heard);
      }
    }
  }

  async function begin(made: Promise<SchedulerWorld>): Promise<void> {
    world = await made;
    scheduler = world.stores[0]?.scheduler ?? expect.fail('no store');
    for (const [name, value] of [
      ['gc-life-time', '1m'],
      ['gc-interval', '10s'],
    ] as const)
      await settle(scheduler.steerPlacement({ setting: { name, value } }));
  }

  afterEach(() => world.close());

  describe('of one scheduler', () => {
    beforeEach(() => begin(SchedulerWorld.serving(1)));

    it('follow the life time, and never go back', async () => {
      let before = await points();
      for (let i = 0; i < 6; i++) {
        await pass(10_000);
        const after = await points();
        expect(after.transaction >= before.transaction).to.equal(true);
        expect(after.gc).to.equal(after.transaction);
        before = after;
      }
      const age = physicalOf(await now()) - physicalOf(before.gc);
      expect(age).to.be.within(MINUTE, MINUTE + 15_000);
    });

    it('wait for a service, whose name and time are told, and for nobody when its time is over', async () => {
      await pass(5_000);
      const held = await now();
      expect(await hold('backup', 90, held)).to.equal((await points()).transaction);
      await pass(80_000);
      expect((await points()).transaction).to.equal(held);
      const { services, serviceCount } = await status();
      expect(serviceCount).to.equal(1);
      expect(Buffer.from(services[0]?.serviceId ?? [])).to.deep.equal(Buffer.from('backup'));
      expect(services[0]?.expiresIn).to.be.within(1, 12_000);
      await pass(30_000);
      expect((await points()).transaction > held).to.equal(true);
      expect((await status()).serviceCount).to.equal(0);
    });

    it('are held as long as they are renewed, and let go when the service says so', async () => {
      const held = await now();
      for (let i = 0; i < 12; i++) {
        expect((await hold('snapshot', 20, held)) <= held).to.equal(true);
        await pass(10_000);
      }
      expect((await points()).transaction).to.equal(held);
      await hold('snapshot', 0, 0n);
      await pass(15_000);
      expect((await points()).transaction > held).to.equal(true);
    });

    it('refuse what is too late, and say what could be held', async () => {
      await pass(15_000);
      const { transaction } = await points();
      expect(await hold('late', 60, transaction - 1n)).to.equal(transaction);
      expect((await status()).serviceCount).to.equal(0);
      expect(await hold('just', 60, transaction)).to.equal(transaction);
      expect((await status()).serviceCount).to.equal(1);
    });

    it('survive a restart', async () => {
      await pass(5_000);
      const held = await now();
      await hold('backup', 600, held);
      await pass(70_000);
      const before = await points();
      world.crash();
      await settle(world.scheduler());
      expect(await points()).to.deep.equal(before);
      await pass(90_000);
      expect((await points()).transaction).to.equal(held);
    });

    const bad: readonly [string, Uint8Array, number, bigint | 'future', RegExp][] = [
      ['no name', new Uint8Array(0), 10, 1n, /1 to 128 bytes, not 0/],
      ['too long a name', new Uint8Array(MAX_SERVICE_ID_BYTES + 1), 10, 1n, /not 129/],
      ['more than a day', named('a'), 86_401, 1n, /renew it in time/],
      ['a timestamp from the future', named('a'), 10, 'future', /lies in the future/],
      ['the largest timestamp', named('a'), 10, 2n ** 64n - 1n, /lies in the future/],
    ];
    for (const [what, service, ttl, safePoint, sentence] of bad) {
      it(`refuse ${what}, and hold nothing`, async () => {
        const at = safePoint === 'future' ? (await now()) + composeTimestamp(10_000, 0) : safePoint;
        const error = await world.failure(scheduler.updateServiceSafePoint(service, ttl, at));
        expect(error.code).to.equal('invalid-argument');
        expect(error.message).to.match(sentence);
        expect((await status()).serviceCount).to.equal(0);
      });
    }

    it('rest while the collector is switched off, and it is not run then', async () => {
      await pass(15_000);
      await settle(scheduler.steerPlacement({ setting: { name: 'gc-enabled', value: 'false' } }));
      await pass(2_000);
      const before = await points();
      expect((await status()).state).to.equal('paused');
      expect((await world.failure(scheduler.runGc())).code).to.equal('conflict');
      await pass(30_000);
      expect(await points()).to.deep.equal(before);
      await settle(scheduler.steerPlacement({ setting: { name: 'gc-enabled', value: 'true' } }));
      await settle(scheduler.runGc());
      await pass(3_000);
      expect((await points()).gc > before.gc).to.equal(true);
    });

    it('refuse a life time below a minute', async () => {
      const error = await world.failure(
        scheduler.steerPlacement({ setting: { name: 'gc-life-time', value: '59s' } }),
      );
      expect(error.message).to.match(/gc-life-time: "59s" is not 1m or longer/);
    });

    it('are told to a store with each heartbeat', async () => {
      await pass(15_000);
      const reply = await settle(world.stores[0]?.heartbeat() ?? expect.fail('no store'));
      const { transaction, gc } = await points();
      expect([reply.txnSafePoint, reply.gcSafePoint]).to.deep.equal([transaction, gc]);
      expect(transaction > 0n).to.equal(true);
    });

    it('wait for every store before versions may go, but not for one that is silent for good', async () => {
      await pass(15_000);
      const before = await points();
      await settle(scheduler.runGc());
      // Two heed it; the third says nothing.
      for (let i = 0; i < 15; i++) {
        await world.clock.advance(1_000);
        const { transaction } = await points();
        for (const store of world.stores.slice(0, 2))
          await settle(store.heartbeat({ txnSafePoint: transaction }));
        expect(transaction > before.gc).to.equal(true);
        expect((await points()).gc).to.equal(before.gc);
      }
      expect((await status()).state).to.equal('awaitingStores');
      await world.clock.advance(15_000);
      expect((await points()).gc > before.gc).to.equal(true);
    });
  });

  it('survive a change of leadership, and the next leader goes on with the round', async () => {
    await begin(SchedulerWorld.three(5));
    const held = await now();
    await hold('backup', 120, held);
    await pass(70_000);
    const before = await points();
    expect(before.transaction).to.equal(held);
    const leader = await world.elected();
    world.crash(leader.name);
    await world.elected([leader.name]);
    expect(await points()).to.deep.equal(before);
    await pass(30_000);
    expect((await points()).transaction).to.equal(held);
    await pass(60_000);
    const after = await points();
    expect(after.transaction > held).to.equal(true);
    expect(after.gc > before.gc).to.equal(true);
  });

  it('of a scheduler that was deposed and has not noticed are told to no store', async () => {
    await begin(SchedulerWorld.three(6));
    const old = await world.elected();
    world.cutOff(old.name);
    const store = world.stores[0] ?? expect.fail('no store');
    const stats = { storeId: store.storeId, incarnation: store.system.incarnation };
    const asked = store.system.ref(`${old.name}/pd`).ask(
      {
        type: 'pd.storeHeartbeat',
        header: { clusterId: 0 },
        stats: pdpb.StoreStats.from(stats),
      },
      { timeout: 400 },
    );
    const answer = await settle(
      (asked as Promise<{ header?: { error?: unknown } }>).then(
        ({ header }) => header?.error !== undefined,
        () => true,
      ),
    );
    expect(answer, 'it answered').to.equal(true);
  });
});
