/**
 * What holding and ticking 10,000 idle groups costs in one process, without disks and stores:
 * `node --expose-gc dist/spec/bench/resting-cost.js` prints the heap of a group and the time of a round of ticks, where all
 * groups are awake and where all of them sleep.
 */
import { VirtualClock } from '../../actors/index.js';
import { silentLogger } from '../../actors/logger.js';
import { RaftGroup } from '../../cluster/raft/group.js';
import { GroupTicks } from '../../cluster/raft/group-ticks.js';
import { INITIAL_LOG } from '../../cluster/raft/initial-log.js';
import { raftConfig } from '../../cluster/raft/tuning.js';
import { makeMessage } from '../../machines/index.js';

const COUNT = 10_000;
const TICK_MS = 100;
const collect = (globalThis as { gc?: () => void }).gc ?? ((): void => {});

function heap(): number {
  collect();
  return process.memoryUsage().heapUsed;
}

async function measure(hibernate: boolean): Promise<void> {
  const clock = new VirtualClock();
  const ticks = new GroupTicks({
    clock,
    tuning: { hibernate },
    hibernation: { notify: () => {}, isMissing: () => false, isAlive: () => true },
    ended: () => {},
  });
  const before = heap();
  const groups = Array.from({ length: COUNT }, (_, i) => {
    const group = new RaftGroup({
      id: i + 1,
      peerId: 2,
      config: raftConfig(i + 1, 2, { random: Math.random, logger: silentLogger }),
      initial: {
        hardState: { term: INITIAL_LOG.term, vote: 0, commit: INITIAL_LOG.index },
        confState: {
          voters: [1, 2, 3],
          votersOutgoing: [],
          learners: [],
          learnersNext: [],
          autoLeave: false,
        },
        truncated: INITIAL_LOG,
        lastIndex: INITIAL_LOG.index,
        terms: [],
        entries: [],
        applied: INITIAL_LOG.index,
      },
      machine: { apply: (entries) => entries.map(() => undefined) },
      clock,
      hibernation: ticks.hibernationFor(false),
      touch: () => {},
    });
    ticks.join(group);
    return group;
  });
  const { term, index } = INITIAL_LOG;
  for (const group of groups) {
    group.step(makeMessage({ type: 'heartbeat', from: 1, to: 2, term, commit: index }));
    group.takeReady();
    if (hibernate) group.heed(1, { type: 'request', term, index });
  }
  const bytes = (heap() - before) / COUNT;
  const rounds = 9;
  const began = performance.now();
  await clock.advance(rounds * TICK_MS);
  const took = (performance.now() - began) / rounds;
  console.log(
    `${hibernate ? 'asleep' : 'awake'}: ${(bytes / 1024).toFixed(1)} KiB of heap a group, ` +
      `${took.toFixed(2)} ms for a round of ticks, ${ticks.awake} ticked, ${groups.filter(({ asleep }) => asleep).length} asleep`,
  );
  ticks.stop();
}

await measure(false);
await measure(true);
