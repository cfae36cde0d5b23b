import { expect } from 'chai';
import { ActorSystem, MemoryNetwork, seededRandom, silentLogger, VirtualClock } from '../../actors/index.js';
import { RaftGroup } from '../../cluster/raft/group.js';
import { RaftHost } from '../../cluster/raft/host.js';
import { INITIAL_LOG } from '../../cluster/raft/initial-log.js';
import type { StateMachine } from '../../cluster/raft/state-machine.js';
import { TaskQueue } from '../../cluster/tasks.js';
import { type Entry, type InitialState, makeMessage, RawNode } from '../../machines/index.js';
import { SimulatedDisk, saveRegionState } from '../../storage/index.js';
import { metapb, raft_serverpb } from '../../storage/proto/index.js';
import { RegionInvariants } from './region-invariants.js';
import { StoreImage } from './store-image.js';
import { StoreRecord } from './store-record.js';

/** Mistakes that seeds of the simulation brought to light, each in its shortest form. */

const CONF_STATE = {
  voters: [1, 2, 3],
  votersOutgoing: [],
  learners: [],
  learnersNext: [],
  autoLeave: false,
};
const INITIAL: InitialState = {
  hardState: { term: 5, vote: 0, commit: 5 },
  confState: CONF_STATE,
  truncated: INITIAL_LOG,
  lastIndex: 5,
  terms: [],
  entries: [],
  applied: 5,
};
const machine: StateMachine = { apply: (entries) => entries.map(({ index }) => index) };
const CONFIG = { random: () => 0, preVote: false, checkQuorum: false, asyncStorageWrites: true };

describe('What the simulation has found', () => {
  it('a leader that was deposed and leads again answers its new proposals as what became of them', () => {
    const group = new RaftGroup({
      id: 1,
      peerId: 1,
      config: CONFIG,
      initial: INITIAL,
      machine,
      clock: new VirtualClock(),
      touch: () => {},
    });
    const step = (message: Parameters<typeof makeMessage>[0]): void => {
      group.step(makeMessage(message));
      settle();
    };
    const settle = (): void => {
      for (let ready = group.takeReady(); ready !== undefined; ready = group.takeReady()) {
        for (const response of ready.append?.responses ?? []) if (response.to === 1) group.step(response);
        if (ready.apply !== undefined) {
          group.answer(
            ready.apply,
            ready.apply.entries.map(({ index }) => index),
          );
          group.entriesApplied(ready.apply);
        }
      }
    };
    const lead = (term: number): void => {
      group.campaign();
      settle();
      step({ type: 'requestVoteResponse', from: 2, to: 1, term });
    };
    const answers: string[] = [];
    const propose = (name: string): void => {
      group.propose(Buffer.from(name), (outcome) => {
        answers.push(`${name} ${outcome.ok ? outcome.result : outcome.code}`);
      });
    };

    lead(6);
    for (const name of ['a', 'b', 'c', 'd']) propose(name);
    settle();
    const noop: Entry = { term: 7, index: 6, type: 0, data: new Uint8Array(0) };
    step({
      type: 'appendEntries',
      from: 2,
      to: 1,
      term: 7,
      index: 5,
      logTerm: 5,
      entries: [noop],
      commit: 5,
    });
    lead(8);
    for (const name of ['e', 'f', 'g']) propose(name);
    settle();
    // The old ones are gone from this log, and may yet be committed by somebody who still has them.
    expect(answers).deep.equals([]);
    step({ type: 'appendEntriesResponse', from: 2, to: 1, term: 8, index: 10 });
    expect(answers.sort()).deep.equals([
      ...['a', 'b', 'c', 'd'].map((name) => `${name} stale-command`),
      ...['e 8', 'f 9', 'g 10'],
    ]);
  });

  it('a candidate asks for votes only when its own is on disk', async () => {
    const clock = new VirtualClock();
    const random = seededRandom(1);
    const network = new MemoryNetwork(clock, random);
    const disk = new SimulatedDisk({ random, clock, latency: (call) => (call === 'sync' ? 500 : 0) });
    const engine = await disk.open();
    const system = await ActorSystem.start({
      cluster: 'simulation',
      node: 'node-1',
      role: 'server',
      transport: network.transport('node-1'),
      clock,
    });
    const asked: number[] = [];
    const host = new RaftHost({
      tasks: new TaskQueue({ clock, atOnce: 2, capacity: 64 }),
      engine,
      system,
      clock,
      random,
      logger: silentLogger,
      send: (_group, { type, from, to }) => {
        if (type === 'requestPreVote') answer(to);
        if (type === 'requestVote') asked.push(from);
      },
      failed: (error) => expect.fail(error.message),
    });
    const batch = engine.batch();
    host.log.create(batch, 1, INITIAL_LOG, CONF_STATE);
    await engine.write(batch);
    const group = await host.open(1, 1, machine);
    const answer = (from: number): void => {
      clock.immediate(() =>
        group.step(makeMessage({ type: 'requestPreVoteResponse', from, to: 1, term: 6 })),
      );
    };
    group.campaign();
    await clock.advance(400);
    expect(group.status()).include({ role: 'candidate', term: 6 });
    expect(asked).deep.equals([]);
    await clock.advance(200);
    expect(asked).deep.equals([1, 1]);
  });

  it('entries that were read for a member are not applied by a leader that was deposed meanwhile', () => {
    const entry = (index: number, term: number): Entry => ({ term, index, type: 0, data: Buffer.from('x') });
    const raft = new RawNode(
      { id: 1, ...CONFIG, maxCachedBytes: 0 },
      {
        ...INITIAL,
        hardState: { term: 6, vote: 1, commit: 5 },
        lastIndex: 7,
        terms: [{ term: 6, index: 6 }],
      },
    );
    const applied: Entry[] = [];
    const step = (message: Parameters<typeof makeMessage>[0]): void => {
      raft.step(makeMessage(message));
      settle();
    };
    const settle = (): void => {
      while (raft.hasReady()) {
        const { append, apply } = raft.ready();
        applied.push(...(apply?.entries ?? []));
        for (const response of [...(append?.responses ?? []), ...(apply?.responses ?? [])]) {
          if (response.to === 1) raft.step(response);
        }
      }
    };
    raft.campaign();
    settle();
    step({ type: 'requestVoteResponse', from: 2, to: 1, term: 7 });
    // Member 2 lacks everything behind 5: the leader wants it read from disk.
    const rejection = { reject: true, rejectHint: 5, logTerm: 5 };
    step({ type: 'appendEntriesResponse', from: 2, to: 1, term: 7, index: 7, ...rejection });
    const [wanted] = raft.fetches();
    if (wanted === undefined) return expect.fail('nothing is wanted');
    step({ type: 'heartbeat', from: 3, to: 1, term: 8 });
    raft.entriesFetched(wanted, [entry(6, 6), entry(7, 6)]);
    const entries = [entry(6, 8), entry(7, 8)];
    step({ type: 'appendEntries', from: 3, to: 1, term: 8, index: 5, logTerm: 5, entries, commit: 7 });
    for (const fetch of raft.fetches()) raft.entriesFetched(fetch, entries);
    settle();
    expect(applied.map(({ index, term }) => [index, term])).deep.equals([
      [6, 8],
      [7, 8],
    ]);
  });

  // Seed 174: a store was said to have lost what no sync had made durable.
  it('of two syncs at a time neither makes durable what was written after it was asked for', async () => {
    const clock = new VirtualClock();
    const disk = new SimulatedDisk({
      random: seededRandom(1),
      clock,
      latency: (call) => (call === 'sync' ? 10 : 1),
    });
    const record = new StoreRecord({ writes: () => {}, durable: () => {} });
    const engine = record.observe(await disk.open());
    const write = async (region: number): Promise<void> => {
      const batch = engine.batch();
      saveRegionState(batch, region, { state: raft_serverpb.PeerState.Normal });
      await engine.write(batch);
    };
    const settle = async (work: Promise<unknown>): Promise<void> => {
      await clock.advance(1);
      await work;
    };
    const syncs: Promise<void>[] = [];
    for (const region of [1, 2, 3]) {
      await settle(write(region));
      syncs.push(engine.sync());
    }
    await settle(write(4));
    await clock.advance(100);
    await Promise.all(syncs);
    expect([...record.stored.regions.keys()]).deep.equals([1, 2, 3, 4]);
    expect([...record.durable.regions.keys()]).deep.equals([1, 2, 3]);
  });

  // Seed 246, with transactions: a split pushed a region out of the scheduler's tree, and word of it from before its merge came late.
  it('a region that the scheduler knows no more may come back older; one that it knows may not', () => {
    const broken: string[] = [];
    const regions = new RegionInvariants((sentence) => broken.push(sentence));
    const write = (confVer: number, version: number) =>
      regions.schedulerWrites(metapb.Region.from({ id: 1, regionEpoch: { confVer, version } }));
    write(5, 4);
    regions.schedulerRemoves(1);
    write(4, 2);
    write(5, 5);
    expect(broken).deep.equals([]);
    write(4, 2);
    expect(broken).lengthOf(1);
  });

  // Seed 148, with transactions: the heartbeat of a region that was merged was sent again after its tombstone had gone.
  it('what a store says once more of a region that is collected is nothing that its disk must show', () => {
    const broken: string[] = [];
    const regions = new RegionInvariants((sentence) => broken.push(sentence));
    const say = (confVer: number) => regions.reports('store-1.1', 'store-1', 7, { confVer, version: 2 });
    const found = () => regions.found('store-1.2', 'store-1', new StoreImage());
    say(2);
    found();
    expect(broken).lengthOf(1);
    regions.collected('store-1', 7);
    say(2);
    found();
    expect(broken).lengthOf(1);
    say(3);
    say(1);
    expect(broken).lengthOf(2);
  });
});
