import { expect } from 'chai';
import { ActorSystem, MemoryNetwork, seededRandom, silentLogger, VirtualClock } from '../../actors/index.js';
import { RaftHost } from '../../cluster/raft/host.js';
import { INITIAL_LOG } from '../../cluster/raft/initial-log.js';
import type { Outcome, StateMachine } from '../../cluster/raft/state-machine.js';
import { TaskQueue } from '../../cluster/tasks.js';
import { type Entry, makeMessage } from '../../machines/index.js';
import { type Engine, SimulatedDisk, type WriteBatch } from '../../storage/index.js';

const PEER = 1;
const text = (value: string) => Buffer.from(value);

/** Counts what it applied, on disk, and answers with the command's own text. */
class Tally implements StateMachine {
  readonly results: string[] = [];
  error: Error | undefined;
  constructor(readonly key: string) {}

  apply(entries: readonly Entry[], batch: WriteBatch): readonly unknown[] {
    return entries.map((entry) => {
      const command = Buffer.from(entry.data).toString();
      batch.put('default', text(`${this.key}/${entry.index}`), entry.data);
      if (command === 'poison') throw new Error('a command that nobody understands');
      this.results.push(command);
      return command;
    });
  }

  failed(error: Error): void {
    this.error = error;
  }
}

interface World {
  readonly clock: VirtualClock;
  readonly disk: SimulatedDisk;
  readonly engine: Engine;
  readonly host: RaftHost;
  readonly failures: Error[];
}

async function start(
  groups: readonly number[],
  disk?: SimulatedDisk,
  clock = new VirtualClock(),
  voters: readonly number[] = [PEER],
): Promise<World> {
  const random = seededRandom(7);
  const own = disk ?? new SimulatedDisk({ random, clock, latency: () => 1 });
  const engine = await own.open();
  const network = new MemoryNetwork(clock, random);
  const system = await ActorSystem.start({
    cluster: 'spec',
    node: 'store-1',
    role: 'server',
    transport: network.transport('store-1'),
    clock,
    random,
  });
  const failures: Error[] = [];
  const host = new RaftHost({
    tasks: new TaskQueue({ clock, atOnce: 2, capacity: 64 }),
    engine,
    system,
    clock,
    random,
    logger: silentLogger,
    send: () => {},
    failed: (error) => failures.push(error),
  });
  if (disk === undefined) {
    const batch = engine.batch();
    for (const group of groups) {
      host.log.create(batch, group, INITIAL_LOG, {
        voters,
        votersOutgoing: [],
        learners: [],
        learnersNext: [],
        autoLeave: false,
      });
    }
    const written = engine.write(batch).then(() => engine.sync());
    await clock.advance(10);
    await written;
  }
  return { clock, disk: own, engine, host, failures };
}

async function open(world: World, group: number, machine: StateMachine) {
  const opening = world.host.open(group, PEER, machine);
  await world.clock.advance(100);
  const opened = await opening;
  opened.campaign();
  await world.clock.advance(100);
  expect(opened.isLeader).to.equal(true);
  return opened;
}

describe('the Raft host', () => {
  it('answers each proposal once, with its own result, in the order of the log', async () => {
    const world = await start([1]);
    const tally = new Tally('a');
    const group = await open(world, 1, tally);
    const outcomes: Outcome<unknown>[] = [];
    for (const command of ['x', 'y', 'z']) group.propose(text(command), (outcome) => outcomes.push(outcome));
    await world.clock.advance(50);
    expect(outcomes).to.deep.equal(['x', 'y', 'z'].map((result) => ({ ok: true, result })));
  });

  it('tells a proposer when reads see what it did, without waiting for anything else to be written', async () => {
    const world = await start([1]);
    const group = await open(world, 1, new Tally('a'));
    const events: string[] = [];
    const propose = (command: string) =>
      group.propose(
        text(command),
        (outcome) => {
          const index = group.status().applied + 1;
          events.push(`${command} ${outcome.ok ? 'done' : outcome.code}`);
          void world.engine.get('default', text(`a/${index}`)).then((value) => {
            events.push(`${command} ${value === undefined ? 'unseen' : 'seen'}`);
          });
        },
        false,
        () => {
          events.push(`${command} visible`);
          void world.engine.get('default', text(`a/${group.status().applied}`)).then((value) => {
            events.push(`${command} ${Buffer.from(value ?? []).toString()}`);
          });
        },
      );
    propose('x');
    // Less than a tick.
    await world.clock.advance(20);
    expect(events).to.deep.equal(['x done', 'x unseen', 'x visible', 'x x']);
    events.length = 0;
    propose('y');
    group.stop();
    await world.clock.advance(20);
    expect(events.filter((event) => event.endsWith('visible'))).to.deep.equal([]);
    expect(events[0]).to.equal('y undetermined');
  });

  it('field note 2: a proposal is answered by the entry at its index and term, once, whatever takes its place', async () => {
    const world = await start([1], undefined, undefined, [1, 2, 3]);
    const { clock } = world;
    const opening = world.host.open(1, PEER, new Tally('a'));
    await clock.advance(50);
    const group = await opening;
    const step = async (message: Parameters<typeof makeMessage>[0]) => {
      group.step(makeMessage({ to: PEER, term: group.term, ...message }));
      await clock.advance(20);
    };
    const lead = async () => {
      group.campaign();
      await clock.advance(20);
      await step({ type: 'requestPreVoteResponse', from: 2, term: group.term + 1 });
      await step({ type: 'requestVoteResponse', from: 2 });
      expect(group.isLeader).to.equal(true);
    };
    const outcomes: string[][] = [];
    const propose = (text_: string) => {
      const own: string[] = [];
      outcomes.push(own);
      group.propose(text(text_), (outcome) => own.push(outcome.ok ? String(outcome.result) : outcome.code));
    };
    await lead();
    propose('lost');
    propose('lost too');
    await clock.advance(20);
    const { lastIndex } = group.status();
    // Another leader's entry takes the place of the first, and cuts the second off.
    const term = group.term + 1;
    const other = { term, index: lastIndex - 1, type: 0 as const, data: text('theirs') };
    await step({
      type: 'appendEntries',
      from: 2,
      term,
      index: lastIndex - 2,
      logTerm: group.status().lastTerm,
      entries: [other],
      commit: lastIndex - 1,
    });
    await lead();
    propose('kept');
    await clock.advance(20);
    await step({ type: 'appendEntriesResponse', from: 2, index: group.status().lastIndex });
    await clock.advance(200);
    group.stop();
    expect(outcomes).to.deep.equal([['stale-command'], ['stale-command'], ['kept']]);
  });

  it('field note 10: nothing of a replica is written after it was destroyed, wherever the power fails', async () => {
    for (let crashAt = 0; crashAt < 8; crashAt += 0.25) {
      const world = await start([1, 2]);
      const { clock, engine, host, disk } = world;
      const group = await open(world, 1, new Tally('gone'));
      const other = await open(world, 2, new Tally('stays'));
      for (let i = 0; i < 5; i++) group.propose(text(`${i}`), () => {});
      await clock.advance(2);
      for (let i = 5; i < 10; i++) group.propose(text(`${i}`), () => {});
      let destroyed = false;
      const destroying = host
        .destroy(group, (batch) => {
          batch.deleteRange('default', text('gone/'), text('gone0'));
          batch.put('raft', text('tombstone'), text('1'));
        })
        .then(() => {
          destroyed = true;
        });
      other.propose(text('x'), () => {});
      await clock.advance(crashAt);
      disk.crash();
      void destroying;
      const again = await start([1, 2], disk, clock);
      const found = Promise.all([
        again.host.log.load(1),
        again.host.log.indexes(1, 0, 1_000, 100),
        again.engine.scan('default', { start: text('gone/'), end: text('gone0'), limit: 100 }),
        again.engine.get('raft', text('tombstone')),
      ]);
      await clock.advance(50);
      const [state, indexes, rows, tombstone] = await found;
      expect(engine).not.to.equal(again.engine);
      if (tombstone === undefined) {
        expect(destroyed).to.equal(false);
        expect(state?.lastIndex).to.equal(indexes.at(-1));
      } else {
        expect({ state, indexes, keys: rows.keys }).to.deep.equal({
          state: undefined,
          indexes: [],
          keys: [],
        });
      }
    }
  });

  it('writes what one turn brings for many groups in one batch, and syncs it once', async () => {
    const ids = Array.from({ length: 50 }, (_, i) => i + 1);
    const world = await start(ids);
    const groups = [];
    for (const id of ids) groups.push(await open(world, id, new Tally(`g${id}`)));
    const before = { ...world.host.counters };
    let answered = 0;
    for (const group of groups) group.propose(text('x'), () => answered++);
    await world.clock.advance(20);
    expect(answered).to.equal(50);
    // One batch with all entries and its sync, one batch that applies them all.
    expect(world.host.counters.syncs - before.syncs).to.equal(1);
    expect(world.host.counters.batches - before.batches).to.equal(2);
  });

  it('gathers what arrives while the disk is busy into the next batch', async () => {
    const world = await start([1]);
    const group = await open(world, 1, new Tally('a'));
    const before = { ...world.host.counters };
    let answered = 0;
    group.propose(text('first'), () => answered++);
    await world.clock.advance(0.5);
    for (let i = 0; i < 100; i++) group.propose(text(`later-${i}`), () => answered++);
    await world.clock.advance(30);
    expect(answered).to.equal(101);
    expect(world.host.counters.syncs - before.syncs).to.equal(2);
  });

  it('answers reads only when everything acknowledged before them is applied', async () => {
    const world = await start([1]);
    const tally = new Tally('a');
    const group = await open(world, 1, tally);
    let seen: number | undefined;
    let acknowledged = 0;
    group.propose(text('x'), () => {
      acknowledged++;
      group.read((outcome) => {
        expect(outcome.ok).to.equal(true);
        seen = tally.results.filter((one) => one === 'x').length;
      });
    });
    await world.clock.advance(50);
    expect({ acknowledged, seen }).to.deep.equal({ acknowledged: 1, seen: 1 });
  });

  it('evaluates what reads only when everything before it is visible, and what follows only after that', async () => {
    const world = await start([1]);
    const { engine } = world;
    const key = text('n');
    /** `=5` sets the number without looking, `+1` adds to what stands there. */
    const adder: StateMachine = {
      needsReads: (entries) => entries.some((entry) => entry.data[0] === 0x2b),
      apply(entries, batch) {
        const one = async () => {
          const results: number[] = [];
          for (const entry of entries) {
            const command = Buffer.from(entry.data).toString();
            if (command === '') continue;
            const stood = Number(Buffer.from((await engine.get('default', key)) ?? []).toString());
            results.push((command[0] === '+' ? stood : 0) + Number(command.slice(1)));
            batch.put('default', key, text(String(results.at(-1))));
          }
          return results;
        };
        if (entries.some((entry) => entry.data[0] === 0x2b)) return one();
        return entries.map((entry) => {
          const value = Number(Buffer.from(entry.data.subarray(1)).toString());
          if (entry.data.length > 0) batch.put('default', key, text(String(value)));
          return value;
        });
      },
    };
    const group = await open(world, 1, adder);
    const answers: unknown[] = [];
    for (const command of ['=5', '+1', '+1', '=10', '+2', '=1', '+1', '+1']) {
      group.propose(text(command), (outcome) => answers.push(outcome.ok ? outcome.result : outcome.code));
      // Each in an entry and a Ready of its own, while the disk is still busy with those before.
      await world.clock.advance(3);
    }
    await world.clock.advance(300);
    expect(answers).to.deep.equal([5, 6, 7, 10, 12, 1, 2, 3]);
  });

  it('stops only the group whose command cannot be applied, and keeps nothing of it', async () => {
    const world = await start([1, 2]);
    const sick = new Tally('sick');
    const well = new Tally('well');
    const first = await open(world, 1, sick);
    const second = await open(world, 2, well);
    const outcomes: Outcome<unknown>[] = [];
    first.propose(text('poison'), (outcome) => outcomes.push(outcome));
    second.propose(text('fine'), (outcome) => outcomes.push(outcome));
    await world.clock.advance(50);
    expect(sick.error?.message).to.equal('a command that nobody understands');
    expect(outcomes).to.deep.include({ ok: true, result: 'fine' });
    expect(outcomes).to.deep.include({ ok: false, code: 'undetermined', leader: PEER });
    const rows = world.engine.scan('default', { limit: 100 });
    await world.clock.advance(10);
    const keys = (await rows).keys.map((key) => Buffer.from(key).toString());
    expect(keys.filter((key) => key.startsWith('sick/') && key.endsWith('/7'))).to.deep.equal([]);
    expect(keys.some((key) => key.startsWith('well/'))).to.equal(true);
    first.propose(text('late'), (outcome) => outcomes.push(outcome));
    expect(outcomes.at(-1)).to.deep.equal({ ok: false, code: 'stopped', leader: PEER });
  });

  it('acknowledges nothing once the disk has refused', async () => {
    const world = await start([1]);
    const group = await open(world, 1, new Tally('a'));
    world.disk.failNext('sync', { message: 'no space left on device' });
    const outcomes: Outcome<unknown>[] = [];
    group.propose(text('x'), (outcome) => outcomes.push(outcome));
    await world.clock.advance(50);
    expect(world.failures).to.have.length(1);
    expect(outcomes).to.deep.equal([{ ok: false, code: 'undetermined', leader: PEER }]);
  });

  it('field note 24: an entry, what it changes and the applied index are one after a power loss, and never less than was acknowledged', async () => {
    for (let crashAt = 0; crashAt < 12; crashAt += 0.5) {
      const world = await start([1]);
      const group = await open(world, 1, new Tally('a'));
      let acknowledged = 0;
      for (let i = 0; i < 20; i++) {
        group.propose(text(`${i}`), (outcome) => {
          if (outcome.ok) acknowledged++;
        });
        await world.clock.advance(0.5);
      }
      await world.clock.advance(crashAt);
      world.disk.crash();
      const clock = new VirtualClock();
      const again = await start([1], world.disk, clock);
      const loading = again.host.log.load(1);
      const scanning = again.engine.scan('default', { limit: 100 });
      await clock.advance(50);
      await world.clock.advance(50);
      const state = await loading;
      const { keys } = await scanning;
      // Entry 6 is the leader's own; each later one is a row.
      const applied = state?.applied ?? 0;
      const rows = keys.map((key) => Number(Buffer.from(key).toString().split('/')[1]));
      expect(rows.sort((a, b) => a - b)).to.deep.equal(
        Array.from({ length: applied - INITIAL_LOG.index }, (_, i) => INITIAL_LOG.index + 1 + i),
      );
      expect(state?.lastIndex ?? 0).to.be.at.least(INITIAL_LOG.index + 1 + acknowledged);
    }
  });
});
