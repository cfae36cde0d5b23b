/** First wait of a series, in milliseconds. */
const FIRST_WAIT_MS = 10;
/** Longest wait: short beside an election, which is what most waits are for. */
const LONGEST_WAIT_MS = 250;

/**
 * How long to wait before try number `attempt` (1 for the first repetition): doubling, and drawn from the upper half
 * so that callers who failed together do not come back together.
 */
export function backoffMs(attempt: number, random: () => number): number {
  const full = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** Math.min(attempt - 1, 16));
  return full / 2 + (full / 2) * random();
}
