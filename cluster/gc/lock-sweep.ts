/** A range of user keys of transactions, half-open; an empty end is open. */
export interface KeyRange {
  readonly start: Uint8Array;
  readonly end: Uint8Array;
}

/** What one step of a sweep came to. */
export interface SweepStep {
  /** Locks that were resolved. */
  readonly locks: number;
  /** Where to go on; `undefined` when the range is done. */
  readonly next: Uint8Array | undefined;
}

/** How the collector reaches the locks in stores. */
export interface LockLink {
  /**
   * Finds locks of transactions that began at or before `safePoint`, from the start of `range` on, as many as one request
   * takes and not beyond the region that holds the start, and resolves them: each transaction is committed if its primary
   * is, and else rolled back, however long it wanted to live.
   * @throws what makes it impossible within the link's patience, or the signal's reason
   */
  resolve(range: KeyRange, safePoint: bigint, signal: AbortSignal): Promise<SweepStep>;
  /** Ends what is under way. Idempotent. */
  close(): void;
}

export interface LockSweep {
  readonly link: LockLink;
  readonly ranges: readonly KeyRange[];
  readonly safePoint: bigint;
  /** Ranges that are worked on side by side. */
  readonly atOnce: number;
  readonly signal: AbortSignal;
  /** Told of each step. @param done the range that it was for has no lock left */
  readonly progress: (locks: number, done: boolean) => void;
}

/**
 * Resolves the locks in all ranges, some of them at once; when one fails nothing new is begun.
 * @throws the first failure, or the signal's reason
 */
export async function sweepLocks({
  link,
  ranges,
  safePoint,
  atOnce,
  signal,
  progress,
}: LockSweep): Promise<void> {
  const left = ranges.values();
  const stop = new AbortController();
  const either = AbortSignal.any([signal, stop.signal]);
  const work = async (): Promise<void> => {
    for (const range of left) {
      for (let start: Uint8Array | undefined = range.start; start !== undefined; ) {
        either.throwIfAborted();
        const step: SweepStep = await link.resolve({ start, end: range.end }, safePoint, either);
        start = step.next;
        progress(step.locks, start === undefined);
      }
    }
  };
  const fail = (error: unknown): never => {
    stop.abort(error);
    throw error;
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, ranges.length) }, () => work().catch(fail)));
}
