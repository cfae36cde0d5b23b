import { expect } from 'chai';
import { seededRandom, VirtualClock } from '../../actors/index.js';
import { FakeDatabase, type Faults } from './fake-database.js';
import { Workload, type WorkloadVerdict } from './workloads.js';

const RUN_MS = 20_000;

describe('workloads', () => {
  it('find nothing wrong with a database that is right, whatever it leaves unanswered', async () => {
    for (let seed = 1; seed <= 5; seed++) {
      const { verdict, workload } = await run(seed, {});
      expect(verdict.violations, `seed ${seed}`).deep.equals([]);
      expect(verdict.evidence).equals('');
      expect(verdict.operations).above(5_000);
      const { returned, failed, unknown } = workload.history.counts;
      expect(Math.min(returned, failed, unknown)).above(20);
    }
  });

  it('do the same for the same seed', async () => {
    const [one, other] = [await run(3, {}), await run(3, {})];
    expect(one.workload.history.operations()).deep.equals(other.workload.history.operations());
  });

  const wrong: readonly [name: string, faults: Faults, sentence: RegExp][] = [
    ['a stale read', { stale: 0.001 }, /is not linearizable/],
    ['a forgotten write', { forgotten: 0.002 }, /has lost what was acknowledged/],
    ['a write that was denied', { denied: 0.003 }, /is not linearizable/],
    ['a swap that wins wrongly', { blind: 0.02 }, /is not linearizable|has lost what was acknowledged/],
    ['a call that hangs', { hanging: 0.0005 }, /hangs: it may take 3000 ms, and has taken 2000 ms more/],
    ['an error that is not documented', { strange: 0.001 }, /ended with TypeError: what was that/],
  ];
  for (const [name, faults, sentence] of wrong) {
    it(`notice ${name}`, async () => {
      const { verdict } = await run(7, faults);
      expect(verdict.violations.join('\n')).matches(sentence);
    });
  }

  it('keep the history of the key that is wrong, and of no other', async () => {
    const { verdict } = await run(7, { denied: 0.003 });
    const [key] = verdict.violations[0]?.split(' ') ?? [];
    const lines = verdict.evidence.trim().split('\n');
    expect(lines.length).above(1);
    for (const line of lines) expect(JSON.parse(line)).has.nested.property('input.key', key);
  });
});

async function run(seed: number, faults: Faults): Promise<{ workload: Workload; verdict: WorkloadVerdict }> {
  const clock = new VirtualClock();
  const random = seededRandom(seed);
  const database = new FakeDatabase(clock, random, faults);
  const workload = new Workload({ clock, random, databases: [database] });
  await runFor(clock, workload);
  expect(await ends(clock, workload.readEverything(60_000))).equals(true);
  return { workload, verdict: workload.verdict() };
}

async function runFor(clock: VirtualClock, workload: Workload): Promise<void> {
  workload.start();
  await clock.advance(RUN_MS);
  expect(await ends(clock, workload.stop())).equals(true);
}

async function ends(clock: VirtualClock, promise: Promise<void>): Promise<boolean> {
  let ended = false;
  void promise.then(() => {
    ended = true;
  });
  return clock.runUntil(() => ended, 120_000);
}
