/** Uniform numbers in [0, 1). Whatever draws chance takes one of these as input. */
export type Random = () => number;

/**
 * A small, fast generator (mulberry32) whose sequence depends on the seed alone.
 * @param seed any number; its lowest 32 bits count
 */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
