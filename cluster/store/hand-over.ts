/** A store that is about to stop gives its leaderships away: its regions need not wait for an election then. */
import type { Clock } from '../../actors/index.js';
import type { RegionReplica } from './replica.js';

/** Between two looks at what is still led, in milliseconds: a few message delays. */
const LOOK_INTERVAL_MS = 20;
/** Regions whose leadership moves at the same time. */
const AT_ONCE = 128;

/**
 * Asks the best prepared peer of every region that is led here to lead it, until none is led here any more.
 * @param patience milliseconds; what is led after that is left to an election
 * @returns how many regions are still led here: those without another voter that is alive and near, or for want of time
 */
export async function handLeadershipsOver(
  replicas: () => Iterable<RegionReplica>,
  clock: Clock,
  patience: number,
): Promise<number> {
  const deadline = clock.now() + patience;
  for (;;) {
    let moving = 0;
    let led = 0;
    for (const replica of replicas()) {
      if (!replica.attached || !replica.raftGroup?.isLeader) continue;
      led++;
      if (moving < AT_ONCE && replica.leadership.withdraw()) moving++;
    }
    if (moving === 0 || clock.now() >= deadline) return led;
    await new Promise<void>((resolve) => void clock.setTimeout(resolve, LOOK_INTERVAL_MS));
  }
}
