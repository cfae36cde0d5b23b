import type { Clock, Logger, TimerHandle } from '../../../actors/index.js';
import { approximateRegionSize, type Engine, findSplitKeys, type KeyRange } from '../../../storage/index.js';
import type { metapb } from '../../../storage/proto/index.js';
import type { Task, TaskQueue } from '../../tasks.js';
import { type SplitCheckLimits, splitCheckLimits } from './limits.js';
import type { RegionSize, Size } from './region-size.js';

/** Why a region is split (kvproto's `SplitReason`). */
export type SplitReason = 'admin' | 'size' | 'load';

/** A region that this store leads, as it is at the moment of asking. */
export interface SplitCandidate {
  readonly region: metapb.Region;
  readonly size: RegionSize;
  /** It is being split or merged, or gets a snapshot: no time to look at it. */
  readonly busy: boolean;
}

export interface SplitCheckerOptions {
  readonly clock: Clock;
  readonly engine: Engine;
  readonly tasks: TaskQueue;
  readonly logger: Logger;
  /** The regions that this store leads now. */
  readonly candidates: () => Iterable<SplitCandidate>;
  /**
   * A region has outgrown its limits and should be split at `keys`. Who proposes that checks epoch, range and leadership
   * again. Called again with each look, until the region's version has changed or it is busy.
   */
  readonly split: (region: metapb.Region, keys: readonly Uint8Array[], reason: SplitReason) => void;
  /** @throws TroupeError `usage` from the constructor when they contradict each other */
  readonly limits?: Partial<SplitCheckLimits>;
}

/** Regions that wait for a check; the next look finds others. */
const MAX_WAITING = 256;
/** Looks with which a split is asked for again, before the region is read again. */
const REPEATED_LOOKS = 6;
/** Looks between two regions that are counted anew though they need no split. */
const LOOKS_PER_RECOUNT = 6;
/**
 * By how much a region may be larger than the engine's guess before it is read: a quarter of what it is allowed to be,
 * and a region of a few megabytes is always read, which costs less than a wrong guess.
 */
const MARGIN_SHARE = 1 / 4;
const MARGIN: Size = { bytes: 4 * 2 ** 20, keys: 40_000 };

interface Waiting {
  readonly region: metapb.Region;
  /** It is read whatever its size seems to be. */
  readonly recount: boolean;
}

/** Where a region is to be split. */
interface Found {
  readonly version: number;
  readonly keys: readonly Uint8Array[];
  /** At which the split was asked for again. */
  looks: number;
}

/**
 * Finds the regions that have grown too large, and where to split them: looks at all that this store leads at each
 * interval, and reads those, one after the other, that may be above a limit.
 */
export class SplitChecker {
  readonly #options: SplitCheckerOptions;
  readonly #limits: SplitCheckLimits;
  readonly #stop = new AbortController();
  readonly #waiting = new Map<number, Waiting>();
  /** Splits that were asked for and have not happened yet. */
  #found = new Map<number, Found>();
  #timer: TimerHandle | undefined;
  #running = false;
  #looksUntilRecount = 0;
  #lastRecount = 0;

  constructor(options: SplitCheckerOptions) {
    this.#options = options;
    this.#limits = splitCheckLimits(options.limits);
  }

  get limits(): SplitCheckLimits {
    return this.#limits;
  }

  /** Looks at each interval from now on. */
  start(): void {
    if (this.#stop.signal.aborted) return;
    this.#timer = this.#options.clock.setTimeout(() => {
      this.#look();
      this.start();
    }, this.#limits.interval);
  }

  /** Aborts what is under way; nothing is split afterwards. Idempotent. */
  stop(): void {
    if (this.#timer !== undefined) this.#options.clock.clearTimeout(this.#timer);
    this.#waiting.clear();
    this.#stop.abort(new Error('the split checker stops'));
  }

  #look(): void {
    const found = new Map<number, Found>();
    const again: [metapb.Region, Found][] = [];
    const recounts: metapb.Region[] = [];
    for (const { region, size, busy } of this.#options.candidates()) {
      const earlier = this.#found.get(region.id);
      if (earlier?.version === versionOf(region) && earlier.looks < REPEATED_LOOKS) {
        found.set(region.id, earlier);
        if (!busy) again.push([region, earlier]);
      } else if (!busy && !this.#waiting.has(region.id)) {
        if (size.due(this.#limits)) this.#wait({ region, recount: false });
        else if (size.wantsRecount(this.#limits)) recounts.push(region);
      }
    }
    this.#found = found;
    for (const [region, earlier] of again) {
      earlier.looks++;
      this.#options.split(region, earlier.keys, 'size');
    }
    this.#recountOne(recounts);
    void this.#checkWaiting();
  }

  /** Each in its turn, and only where nothing else is to be done: a split does not depend on it. */
  #recountOne(regions: readonly metapb.Region[]): void {
    if (this.#looksUntilRecount > 0) this.#looksUntilRecount--;
    if (this.#looksUntilRecount > 0 || this.#waiting.size > 0) return;
    const inOrder = regions.toSorted((a, b) => a.id - b.id);
    const region = inOrder.find(({ id }) => id > this.#lastRecount) ?? inOrder[0];
    if (region === undefined) return;
    this.#lastRecount = region.id;
    this.#looksUntilRecount = LOOKS_PER_RECOUNT;
    this.#wait({ region, recount: true });
  }

  #wait(one: Waiting): void {
    if (this.#waiting.size < MAX_WAITING) this.#waiting.set(one.region.id, one);
  }

  /** One after the other; what is added meanwhile too. */
  async #checkWaiting(): Promise<void> {
    if (this.#running) return;
    this.#running = true;
    const { tasks, logger } = this.#options;
    const { signal } = this.#stop;
    try {
      for (const [id, waiting] of this.#waiting) {
        await tasks.run(`split check of region ${id}`, (task) => this.#check(waiting, task), signal);
        this.#waiting.delete(id);
      }
    } catch (error) {
      // The next look finds those that waited again.
      this.#waiting.clear();
      if (!signal.aborted) logger.warn({ err: error }, 'regions could not be checked for splits');
    } finally {
      this.#running = false;
    }
  }

  async #check({ region, recount }: Waiting, { pause }: Task): Promise<void> {
    const { engine, logger, split } = this.#options;
    const size = this.#candidate(region)?.size;
    if (size === undefined) return;
    const range: KeyRange = { start: region.startKey, end: region.endKey };
    if (!size.scanned && !recount) {
      const { bytes, count } = await approximateRegionSize(engine, range);
      await pause();
      if (this.#candidate(region)?.size !== size) return;
      size.guess({ bytes, keys: count }, marginOf(this.#limits));
    }
    if (!size.mayExceed(this.#limits) && !recount) return size.checked(false);
    const seemedLarge = size.exceeds(this.#limits);
    const mark = size.mark();
    const view = engine.snapshot();
    const findings = await findSplitKeys(engine, view, range, this.#limits, pause).finally(() =>
      view.release(),
    );
    const now = this.#candidate(region);
    // What was found may be of a region that is no more, or no longer led from here.
    if (now?.size !== size || !size.set(findings.bytes, findings.count, mark)) return;
    const { keys, bytes, count } = findings;
    if (keys.length === 0) return size.checked(seemedLarge);
    logger.info({ region: region.id, bytes, keys: count, parts: keys.length + 1 }, 'a region is to be split');
    this.#found.set(region.id, { version: versionOf(region), keys, looks: 0 });
    split(now.region, keys, 'size');
  }

  /** The region as it is now, unless its range has changed since, it is led elsewhere, or is busy. */
  #candidate(region: metapb.Region): SplitCandidate | undefined {
    if (this.#stop.signal.aborted) return undefined;
    for (const candidate of this.#options.candidates()) {
      if (candidate.region.id !== region.id) continue;
      return candidate.busy || versionOf(candidate.region) !== versionOf(region) ? undefined : candidate;
    }
    return undefined;
  }
}

function marginOf({ maxBytes, maxKeys }: SplitCheckLimits): Size {
  return {
    bytes: Math.max(MARGIN.bytes, maxBytes * MARGIN_SHARE),
    keys: Math.max(MARGIN.keys, maxKeys * MARGIN_SHARE),
  };
}

/** It changes with the region's range; members may come and go while keys are looked for. */
function versionOf({ regionEpoch }: metapb.Region): number {
  return regionEpoch?.version ?? 0;
}
