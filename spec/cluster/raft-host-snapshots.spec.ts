import { expect } from 'chai';
import { ActorSystem, MemoryNetwork, seededRandom, silentLogger, VirtualClock } from '../../actors/index.js';
import type { RaftGroup } from '../../cluster/raft/group.js';
import { RaftHost } from '../../cluster/raft/host.js';
import { INITIAL_LOG } from '../../cluster/raft/initial-log.js';
import type { GroupSnapshots } from '../../cluster/raft/snapshots.js';
import type { ApplyEffects, LogDeletion, Outcome, StateMachine } from '../../cluster/raft/state-machine.js';
import { TaskQueue } from '../../cluster/tasks.js';
import {
  type ConfState,
  type Entry,
  EntryType,
  type Message,
  makeMessage,
  type Snapshot,
} from '../../machines/index.js';
import { type Engine, SimulatedDisk, type WriteBatch } from '../../storage/index.js';

const GROUP = 1;
const PEER = 1;
const LEADER = 2;
const NO_BYTES = new Uint8Array(0);
const text = (value: string) => Buffer.from(value);
const confState = (...voters: number[]): ConfState => ({
  voters,
  votersOutgoing: [],
  learners: [],
  learnersNext: [],
  autoLeave: false,
});

/** Keeps a row for each entry; `cut N` truncates the log there, `look` notes which rows are visible. */
class Rows implements StateMachine {
  readonly looks: string[] = [];
  readonly deletions: LogDeletion[] = [];
  readonly applied: () => void = () => {};
  restoredAt: number | undefined;
  error: Error | undefined;
  readonly #engine: Engine;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  divide(entries: readonly Entry[]) {
    if (!entries.some(looks)) return undefined;
    const runs: Entry[][] = [];
    for (const entry of entries) {
      if (runs.length === 0 || looks(entry)) runs.push([]);
      runs.at(-1)?.push(entry);
    }
    return runs.map((run) => ({ entries: run, looksBack: true }));
  }

  apply(entries: readonly Entry[], batch: WriteBatch, effects: ApplyEffects) {
    for (const { data, index, term } of entries) {
      const command = Buffer.from(data).toString();
      if (command.startsWith('cut ')) effects.truncateLog({ index: Number(command.slice(4)), term });
      batch.put('default', text(String(index).padStart(4, '0')), data);
    }
    if (!entries.some(looks)) return entries.map(() => undefined);
    return this.#engine.scan('default', { limit: 1_000 }).then(({ keys }) => {
      this.looks.push(keys.map((key) => Number(Buffer.from(key).toString())).join(' '));
      return entries.map(() => undefined);
    });
  }

  restored({ index }: Snapshot): void {
    this.restoredAt = index;
  }

  logDeleted(deletion: LogDeletion): void {
    this.deletions.push(deletion);
  }

  failed(error: Error): void {
    this.error = error;
  }
}

const looks = ({ data }: Entry): boolean => Buffer.from(data).toString() === 'look';

/** Plays the carrier: `install` ends when the spec says so. */
class Carrier implements GroupSnapshots {
  readonly steps: string[] = [];
  missing = false;
  finish: (error?: Error) => void = () => {};

  async prepare(): Promise<Snapshot | undefined> {
    return undefined;
  }

  send(): void {}

  installing(_group: RaftGroup, { index }: Snapshot, batch: WriteBatch): void {
    if (this.missing) throw new Error('its data is not here');
    this.steps.push(`installing ${index}`);
    batch.put('raft', text('installing'), text(String(index)));
  }

  install(_group: RaftGroup, { index }: Snapshot): Promise<void> {
    this.steps.push(`install ${index}`);
    return new Promise((resolve, reject) => {
      this.finish = (error) => (error === undefined ? resolve() : reject(error));
    });
  }
}

/** What outlives a power loss. */
interface Machine {
  readonly disk: SimulatedDisk;
  readonly clock: VirtualClock;
}

/** @param before the world whose disk and time go on, after its power has failed */
async function start(voters: readonly number[], before?: Machine) {
  const clock = before?.clock ?? new VirtualClock();
  const random = seededRandom(7);
  const own = before?.disk ?? new SimulatedDisk({ random, clock, latency: () => 1 });
  const engine = await own.open();
  const system = await ActorSystem.start({
    cluster: 'spec',
    node: 'store-1',
    role: 'server',
    transport: new MemoryNetwork(clock, random).transport('store-1'),
    clock,
    random,
  });
  const sent: Message[] = [];
  const carrier = new Carrier();
  const host = new RaftHost({
    engine,
    system,
    clock,
    random,
    logger: silentLogger,
    tasks: new TaskQueue({ clock, atOnce: 1, capacity: 10 }),
    snapshots: carrier,
    send: (_group, message) => sent.push(message),
    failed: (error) => {
      throw error;
    },
  });
  const until = async <T>(promise: Promise<T>): Promise<T> => {
    await clock.advance(20);
    return promise;
  };
  if (before === undefined) {
    const batch = engine.batch();
    host.log.create(batch, GROUP, INITIAL_LOG, confState(...voters));
    await until(engine.write(batch).then(() => engine.sync()));
  }
  const rows = new Rows(engine);
  const group = await until(host.open(GROUP, PEER, rows));
  return { clock, disk: own, engine, host, carrier, sent, rows, group, until };
}

type World = Awaited<ReturnType<typeof start>>;

const entry = (index: number, data = ''): Entry => ({
  term: 7,
  index,
  type: EntryType.normal,
  data: text(data),
});

function snapshotMessage(index: number): Message {
  return makeMessage({
    type: 'installSnapshot',
    from: LEADER,
    to: PEER,
    term: 7,
    snapshot: { index, term: 7, confState: confState(1, 2, 3), data: NO_BYTES },
  });
}

function append(index: number, commit: number, ...entries: Entry[]): Message {
  const logTerm = index === INITIAL_LOG.index ? INITIAL_LOG.term : 7;
  return makeMessage({
    type: 'appendEntries',
    from: LEADER,
    to: PEER,
    term: 7,
    index,
    logTerm,
    entries,
    commit,
  });
}

const acknowledged = ({ sent }: World): number[] =>
  sent.filter(({ type, reject }) => type === 'appendEntriesResponse' && !reject).map(({ index }) => index);

describe('A snapshot at the Raft host', () => {
  it('is acknowledged when it is durable, and the log starts over behind it in the same batch', async () => {
    const world = await start([1, 2, 3]);
    const { clock, group, carrier, host, engine, until } = world;
    group.step(append(5, 5, entry(6), entry(7)));
    await clock.advance(20);
    expect(acknowledged(world)).to.deep.equal([7]);
    group.step(snapshotMessage(40));
    await clock.advance(1.5);
    expect(acknowledged(world), 'not before the sync').to.deep.equal([7]);
    await clock.advance(20);
    expect(acknowledged(world)).to.deep.equal([7, 40]);
    expect(carrier.steps).to.deep.equal(['installing 40', 'install 40']);
    expect(await until(engine.get('raft', text('installing')))).to.deep.equal(text('40'));
    const state = await until(host.log.load(GROUP));
    expect(state).to.deep.include({ truncated: { index: 40, term: 7 }, lastIndex: 40, applied: 40 });
    expect(await until(host.log.indexes(GROUP, 0, 1_000, 10))).to.deep.equal([]);
  });

  it('field note 9: a Ready with a snapshot and entries is written snapshot first, and a crash leaves both or neither', async () => {
    let both = 0;
    let neither = 0;
    for (let crashAt = 0; crashAt < 6; crashAt += 0.25) {
      const world = await start([1, 2, 3]);
      const { clock, group, disk } = world;
      group.step(append(5, 5, entry(6), entry(7), entry(8)));
      await clock.advance(20);
      group.step(snapshotMessage(40));
      group.step(append(40, 40, entry(41), entry(42)));
      await clock.advance(crashAt);
      disk.crash();
      const again = await start([1, 2, 3], world);
      const state = await again.until(again.host.log.load(GROUP));
      if (state === undefined) throw new Error('the group is gone');
      const { truncated, lastIndex, applied } = state;
      const indexes = await again.until(again.host.log.indexes(GROUP, 0, 1_000, 100));
      if (truncated.index === 40) {
        both++;
        expect({ lastIndex, applied, indexes }).to.deep.equal({
          lastIndex: 42,
          applied: 40,
          indexes: [41, 42],
        });
      } else {
        neither++;
        expect({ lastIndex, applied, indexes }).to.deep.equal({
          lastIndex: 8,
          applied: 5,
          indexes: [6, 7, 8],
        });
      }
    }
    expect(both).to.be.greaterThan(0);
    expect(neither).to.be.greaterThan(0);
  });

  it('goes before what is committed behind it, which is applied when its data is in place', async () => {
    const world = await start([1, 2, 3]);
    const { clock, group, carrier, rows, engine, until } = world;
    group.step(snapshotMessage(40));
    group.step(append(40, 42, entry(41), entry(42)));
    await clock.advance(50);
    expect(group.applied).to.equal(INITIAL_LOG.index);
    expect(rows.restoredAt).to.equal(undefined);
    carrier.finish();
    await clock.advance(200);
    expect(rows.restoredAt).to.equal(40);
    expect(group.applied).to.equal(42);
    const { keys } = await until(engine.scan('default', { limit: 100 }));
    expect(keys.map((key) => Buffer.from(key).toString())).to.deep.equal(['0041', '0042']);
  });

  it('takes the place of entries that are committed and not evaluated', async () => {
    const world = await start([1, 2, 3]);
    const { clock, group, carrier, rows, engine, until } = world;
    // The first waits for the disk, because it looks back; the others wait behind it.
    group.step(append(5, 9, entry(6, 'look'), entry(7), entry(8), entry(9)));
    group.step(snapshotMessage(40));
    await clock.advance(50);
    carrier.finish();
    group.step(append(40, 41, entry(41)));
    await clock.advance(300);
    expect(rows.error).to.equal(undefined);
    expect(group.applied).to.equal(41);
    const state = await until(world.host.log.load(GROUP));
    expect(state).to.deep.include({ applied: 41, truncated: { index: 40, term: 7 } });
    const { keys } = await until(engine.scan('default', { limit: 100 }));
    expect(keys.map((key) => Buffer.from(key).toString())).to.deep.equal(['0041']);
  });

  it('is not taken in while another is being brought in', async () => {
    const world = await start([1, 2, 3]);
    const { clock, group, carrier } = world;
    group.step(snapshotMessage(40));
    await clock.advance(50);
    group.step(snapshotMessage(60));
    await clock.advance(50);
    expect(carrier.steps).to.deep.equal(['installing 40', 'install 40']);
    carrier.finish();
    await clock.advance(50);
    group.step(snapshotMessage(60));
    await clock.advance(50);
    expect(carrier.steps).to.deep.equal(['installing 40', 'install 40', 'installing 60', 'install 60']);
  });

  it('stops the group, and changes nothing, when its data is not here', async () => {
    const world = await start([1, 2, 3]);
    const { clock, group, carrier, rows, host, until } = world;
    group.step(append(5, 5, entry(6)));
    await clock.advance(20);
    carrier.missing = true;
    group.step(snapshotMessage(40));
    await clock.advance(50);
    expect(rows.error?.message).to.equal('its data is not here');
    expect(acknowledged(world)).to.deep.equal([6]);
    expect(await until(host.log.load(GROUP))).to.deep.include({ truncated: INITIAL_LOG, lastIndex: 6 });
  });

  it('leaves the outcome of what was proposed here, and is in it, undetermined', async () => {
    const world = await start([1, 2, 3]);
    const { clock, group } = world;
    group.campaign();
    await clock.advance(50);
    group.step(makeMessage({ type: 'requestPreVoteResponse', from: 2, to: 1, term: group.term + 1 }));
    await clock.advance(50);
    group.step(makeMessage({ type: 'requestVoteResponse', from: 2, to: 1, term: group.term }));
    await clock.advance(50);
    expect(group.isLeader).to.equal(true);
    const outcomes: Outcome<unknown>[] = [];
    group.propose(text('x'), (outcome) => outcomes.push(outcome));
    await clock.advance(50);
    group.step(snapshotMessage(40));
    await clock.advance(50);
    expect(outcomes).to.deep.equal([{ ok: false, code: 'undetermined', leader: PEER }]);
  });
});

describe('A log that is cut', () => {
  async function lead(): Promise<World> {
    const world = await start([1]);
    world.group.campaign();
    await world.clock.advance(100);
    for (let i = 0; i < 20; i++) world.group.propose(text(`row ${i}`), () => {});
    await world.clock.advance(200);
    expect(world.group.applied).to.equal(26);
    return world;
  }

  it('field note 15, 26: loses its entries on disk, and who asked for it is told', async () => {
    const { clock, group, rows, host, until } = await lead();
    group.propose(text('cut 20'), () => {});
    await clock.advance(200);
    expect(rows.deletions).to.deep.equal([{ through: 20 }]);
    expect(await until(host.log.indexes(GROUP, 0, 1_000, 3))).to.deep.equal([21, 22, 23]);
    expect(group.status().firstIndex).to.equal(21);
    expect(await until(host.log.load(GROUP))).to.deep.include({
      truncated: { index: 20, term: group.term },
      applied: 27,
      lastIndex: 27,
    });
  });

  it('only ever loses more: an older cut changes nothing', async () => {
    const { clock, group, rows, host, until } = await lead();
    group.propose(text('cut 20'), () => {});
    await clock.advance(200);
    group.propose(text('cut 10'), () => {});
    await clock.advance(200);
    expect(rows.deletions).to.deep.equal([{ through: 20 }]);
    expect((await until(host.log.load(GROUP)))?.truncated.index).to.equal(20);
    expect(rows.error).to.equal(undefined);
  });

  it('says so when the disk does not let go of its entries', async () => {
    const { clock, group, rows, disk } = await lead();
    group.propose(text('cut 20'), () => {});
    // The write that applies the cut, then the one that deletes.
    disk.failNext('write', { after: 1, message: 'Input/output error' });
    await clock.advance(300).catch(() => {});
    expect(rows.deletions.length + Number(group.stopped)).to.be.greaterThan(0);
    for (const { error } of rows.deletions) expect(error?.message).to.match(/Input\/output error/);
  });

  it('never seems to have a hole, wherever the power fails', async () => {
    for (let crashAt = 0; crashAt < 10; crashAt += 0.25) {
      const world = await lead();
      world.group.propose(text('cut 20'), () => {});
      await world.clock.advance(crashAt);
      world.disk.crash();
      const again = await start([1], world);
      const state = await again.until(again.host.log.load(GROUP));
      const first = (state?.truncated.index ?? 0) + 1;
      // What the crash left of a deletion is gone soon after the start.
      await again.clock.advance(100);
      expect(await again.until(again.host.log.indexes(GROUP, 0, 1_000, 100))).to.deep.equal(
        Array.from({ length: (state?.lastIndex ?? 0) - first + 1 }, (_, i) => first + i),
      );
    }
  });

  it('keeps every entry whose truncation is not written, however slow the disk and the tasks', async () => {
    for (let crashAt = 0; crashAt < 30; crashAt += 0.5) {
      const world = await lead();
      const { clock, group, disk } = world;
      group.propose(text('cut 10'), () => {});
      await clock.advance(3);
      group.propose(text('cut 15'), () => {});
      for (let i = 0; i < 5; i++) {
        await clock.advance(1);
        group.propose(text(`later ${i}`), () => {});
      }
      group.propose(text('cut 24'), () => {});
      await clock.advance(crashAt);
      disk.crash();
      const again = await start([1], world);
      const state = await again.until(again.host.log.load(GROUP));
      const indexes = await again.until(again.host.log.indexes(GROUP, 0, 1_000, 100));
      const first = (state?.truncated.index ?? 0) + 1;
      expect(indexes.filter((index) => index >= first)).to.deep.equal(
        Array.from({ length: (state?.lastIndex ?? 0) - first + 1 }, (_, i) => first + i),
      );
    }
  });

  it('is cut in the same Ready as an entry that looks back', async () => {
    const world = await start([1, 2, 3]);
    const { clock, group, rows } = world;
    group.step(append(5, 5, entry(6), entry(7), entry(8, 'cut 7'), entry(9, 'look'), entry(10)));
    await clock.advance(50);
    group.step(append(10, 10));
    await clock.advance(300);
    expect(rows.error).to.equal(undefined);
    expect(group.status().firstIndex).to.equal(8);
    expect(group.applied).to.equal(10);
    expect(rows.looks).to.deep.equal(['6 7 8']);
  });

  it('an entry that looks back sees exactly what stands before it', async () => {
    const { clock, group, rows } = await lead();
    for (const command of ['a', 'look', 'b', 'c', 'look', 'd']) group.propose(text(command), () => {});
    await clock.advance(300);
    const upTo = (last: number) => Array.from({ length: last - 5 }, (_, i) => 6 + i).join(' ');
    expect(rows.looks).to.deep.equal([upTo(27), upTo(30)]);
  });
});
