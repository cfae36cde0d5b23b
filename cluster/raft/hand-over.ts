/** A node that is about to stop gives its leaderships away: its groups need not wait for an election then. */
import type { Clock } from '../../actors/index.js';

/** A group that this node leads. */
export interface Led {
  /** Goes on with handing over, or begins. @returns whether leadership is on its way to another member */
  withdraw(): boolean;
}

/** Between two looks at what is still led, in milliseconds: a few message delays. */
const LOOK_INTERVAL_MS = 20;
/** Groups whose leadership moves at the same time. */
const AT_ONCE = 128;

/**
 * Asks the best prepared peer of every group that is led here to lead it, until none is led here any more.
 * @param groups those that are led at the moment
 * @param patience milliseconds; what is led after that is left to an election
 * @returns how many groups are still led here: those without another voter that is alive and near, or for want of time
 */
export async function handLeadershipsOver(
  groups: () => Iterable<Led>,
  clock: Clock,
  patience: number,
): Promise<number> {
  const deadline = clock.now() + patience;
  for (;;) {
    let moving = 0;
    let led = 0;
    for (const group of groups()) {
      led++;
      if (moving < AT_ONCE && group.withdraw()) moving++;
    }
    if (moving === 0 || clock.now() >= deadline) return led;
    await new Promise<void>((resolve) => void clock.setTimeout(resolve, LOOK_INTERVAL_MS));
  }
}
