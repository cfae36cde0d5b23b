/** Names a pending timer of the clock that made it. */
export type TimerHandle = object | number;

/** All time in the house comes from one of these, so that a whole cluster can run on virtual time. */
export interface Clock {
  /** Milliseconds on a monotonic scale, with fractions; the origin means nothing. */
  now(): number;
  /** Calls `fn` once, not before `ms` milliseconds have passed. */
  setTimeout(fn: () => void, ms: number): TimerHandle;
  /** Harmless for a timer that has fired or was cleared. */
  clearTimeout(handle: TimerHandle): void;
  /** Calls `fn` in the next turn of the event loop: after what has already arrived, before any later timer. */
  immediate(fn: () => void): void;
}

/** The process's own clock. Its timers do not outlive `clearTimeout`, and they do keep the process alive. */
export const realClock: Clock = {
  now: () => performance.now(),
  setTimeout: (fn, ms) => setTimeout(fn, ms),
  clearTimeout: (handle) => clearTimeout(handle as NodeJS.Timeout),
  immediate: (fn) => {
    setImmediate(fn);
  },
};
