import { AskError } from '../../actors/index.js';
import { describeStoredKey } from '../../storage/keys.js';
import type { metapb, raft_cmdpb } from '../../storage/proto/index.js';
import { TroupeError } from '../errors.js';
import type { SchedulerClient } from '../pd-client.js';
import { type errorpb, kvrpcpb, type troupepb } from '../proto/index.js';
import type { ProtocolEvent } from '../protocol.js';
import type { Deadline, WaitingParts } from './deadline.js';
import { judge } from './region-errors.js';
import { epochOf, noRegionYet, type RegionEpoch, unknownRegion } from './region-info.js';
import { type AskStore, askLeader, type KnownRegion, settled } from './region-leader.js';
import { refusal, refusedByStore } from './region-refusals.js';
import { type RegionRef, RegionSearch } from './region-search.js';

/** Where changes of regions are asked, and where their effect shows. */
export interface RegionChangeParts extends WaitingParts {
  readonly scheduler: Pick<SchedulerClient, 'getAllStores' | 'getRegion' | 'getRegionById'>;
  readonly askStore: AskStore<'store.changeRegion'>;
}

/** How a change of a region is asked for. */
export interface RegionChangeOptions {
  /** Milliseconds for all of it, waiting included; the database's where nothing is said. */
  readonly timeout?: number;
  /** Aborting rejects with the signal's reason; what was sent by then may still happen. */
  readonly signal?: AbortSignal;
  /**
   * The region is changed only while it has this epoch, as far as the change depends on it: a split and a merge on both
   * halves, a change of peers on `confVer`; as it is known where nothing is said.
   */
  readonly epoch?: RegionEpoch;
  /** Whether to wait until the effect shows at the scheduler, and with it to everybody (true). */
  readonly wait?: boolean;
}

/** One call that changes regions, in one step or in several. */
export interface ChangeCall {
  readonly parts: RegionChangeParts;
  readonly deadline: Deadline;
  readonly epoch?: RegionEpoch | undefined;
  readonly wait: boolean;
}

/** One change of one region. */
export interface RegionChange {
  readonly ref: RegionRef;
  /** What to ask of the region as it is known now. @throws TroupeError when it cannot be asked at all */
  command(region: metapb.Region): raft_cmdpb.AdminRequest | Promise<raft_cmdpb.AdminRequest>;
  /** Of a split without keys. */
  readonly halve?: boolean;
  /**
   * Whether a request that was sent to the region as it was `before`, and got no answer, has been carried out, as it
   * shows `now`; `undefined` for a region that is no more.
   */
  stands(now: metapb.Region | undefined, before: metapb.Region): boolean;
}

/** A change that the region's leader has carried out. */
export interface Changed {
  /** The region, or what it became. */
  readonly regions: readonly metapb.Region[];
  /** The region as the change was asked of it. */
  readonly before: metapb.Region;
  /** The store that answered, when one did. */
  readonly leaderStore: number | undefined;
}

/** Milliseconds for one answer; then whoever leads by then is asked, who refuses what has been done already. */
const PATIENCE_MS = 5_000;

/**
 * Asks a region's leader for a change until it is carried out: what was not done is asked again, of the region as it is
 * by then. What got no answer is repeated too: the epoch that it names keeps it from happening twice.
 * @throws TroupeError as the refusal's reason says; at the deadline `timeout` or `unavailable` when nothing was changed,
 * `undetermined` when nobody knows
 */
export function changeRegion(call: Omit<ChangeCall, 'wait'>, change: RegionChange): Promise<Changed> {
  return new ChangeUnderWay(call, change).run();
}

class ChangeUnderWay {
  readonly #parts: RegionChangeParts;
  readonly #change: RegionChange;
  readonly #deadline: Deadline;
  readonly #epoch: RegionEpoch | undefined;
  readonly #search: RegionSearch;
  /** The region as it was when a request went there whose outcome is not known. */
  #unanswered: metapb.Region | undefined;
  /** Why the last try was in vain; `undefined` before the first. */
  #trouble: string | undefined;
  #reason: string | undefined;
  /** A leader has said so. */
  #heard = false;

  constructor({ parts, deadline, epoch }: Omit<ChangeCall, 'wait'>, change: RegionChange) {
    this.#parts = parts;
    this.#change = change;
    this.#deadline = deadline;
    this.#epoch = epoch;
    this.#search = new RegionSearch(parts.scheduler, change.ref, deadline);
  }

  async run(): Promise<Changed> {
    for (let attempt = 1; ; attempt++) {
      const changed = await this.#try();
      if (changed !== undefined) return changed;
      if (this.#deadline.passed) throw this.#givenUp();
      await this.#deadline.pause(attempt);
    }
  }

  async #try(): Promise<Changed | undefined> {
    const view = await this.#find();
    if (this.#unanswered !== undefined && this.#change.stands(view?.region, this.#unanswered)) {
      return this.#standing(view?.region, this.#unanswered);
    }
    if (view === undefined) throw this.#unknown();
    const before = this.#epoch === undefined ? view.region : { ...view.region, regionEpoch: this.#epoch };
    const { halve = false } = this.#change;
    const command = await this.#change.command(view.region);
    const context = kvrpcpb.Context.from({ regionId: before.id, regionEpoch: before.regionEpoch });
    const event = { type: 'store.changeRegion', context, command, halve } as const;
    const { reply, trouble, storeId } = await askLeader(view, this.#search.stores, (node) =>
      this.#ask(node, event, before),
    );
    if (reply === undefined) return this.#again(trouble, undefined, false);
    const { regionError, refusal: refused, regions } = reply;
    if (regionError !== undefined) return this.#wrongRegion(regionError, before);
    if (refused === undefined) return { regions, before, leaderStore: storeId };
    if (refused.retry) return this.#again(refused.message, refused.code, true);
    throw refusedByStore(refused);
  }

  /** The region now. When the time ends here, what kept the earlier tries is what the caller must know. */
  async #find(): Promise<KnownRegion | undefined> {
    try {
      return await this.#search.find();
    } catch (error) {
      const away = error instanceof TroupeError && error.code === 'unavailable';
      if (away && this.#trouble !== undefined) throw this.#givenUp(error);
      throw error;
    }
  }

  async #ask(
    node: string,
    event: ProtocolEvent<'store.changeRegion'>,
    before: metapb.Region,
  ): Promise<troupepb.ChangeRegionResponse | AskError> {
    const { left, signal } = this.#deadline;
    const patience = { timeout: Math.min(left, PATIENCE_MS), ...(signal === undefined ? {} : { signal }) };
    const reply = await settled(this.#parts.askStore(node, event, patience), signal);
    if (!(reply instanceof AskError)) return reply;
    if (reply.code === 'refused') throw new TroupeError('failed', reply.message, { cause: reply });
    if (reply.handled === 'maybe') this.#unanswered = before;
    return reply;
  }

  /** Takes in what a region error tells. */
  #wrongRegion(error: errorpb.Error, before: metapb.Region): Changed | undefined {
    const verdict = judge(error);
    if (verdict === 'smaller') throw new TroupeError('invalid-argument', error.message);
    if (verdict === 'undetermined') this.#unanswered = before;
    const now = this.#search.learn(error.epochNotMatch?.currentRegions ?? []);
    if (error.epochNotMatch !== undefined && this.#epoch !== undefined && now !== undefined) {
      const unanswered = this.#unanswered;
      if (unanswered !== undefined && this.#change.stands(now, unanswered)) {
        return this.#standing(now, unanswered);
      }
      checkEpoch(now, this.#epoch);
    }
    return this.#again(error.message, undefined, true);
  }

  #standing(now: metapb.Region | undefined, before: metapb.Region): Changed {
    return { regions: now === undefined ? [] : [now], before, leaderStore: undefined };
  }

  #again(trouble: string, reason: string | undefined, heard: boolean): undefined {
    this.#trouble = trouble;
    this.#reason = reason;
    this.#heard = heard;
  }

  #unknown(): TroupeError {
    const { ref } = this.#change;
    return 'id' in ref ? unknownRegion(ref.id) : noRegionYet(ref.key);
  }

  #givenUp(cause?: unknown): TroupeError {
    const time = `${Math.round(this.#deadline.timeout)} ms`;
    const why = (this.#trouble ?? 'no store was asked').replace(/\.$/, '');
    if (this.#unanswered !== undefined) {
      const { id } = this.#unanswered;
      return new TroupeError(
        'undetermined',
        `A change of region ${id} was sent, but not confirmed within ${time} (${why}): it may or may not happen. \`troupe region show ${id}\` tells what became of it.`,
        { cause },
      );
    }
    const { ref } = this.#change;
    const name = 'id' in ref ? `Region ${ref.id}` : `The region of ${describeStoredKey(ref.key)}`;
    return new TroupeError(
      this.#heard ? 'timeout' : 'unavailable',
      `${name} was not changed within ${time}: ${why}. Try again later, or give it longer.`,
      { cause, reason: this.#reason },
    );
  }
}

/** @throws TroupeError `conflict` when the region has another epoch than the one that was given */
export function checkEpoch(now: metapb.Region, given: RegionEpoch | undefined): void {
  const { confVer, version } = epochOf(now);
  if (given === undefined || (given.confVer === confVer && given.version === version)) return;
  throw refusal(
    'epoch-not-match',
    `Region ${now.id} has epoch ${confVer}/${version}, not ${given.confVer}/${given.version}: look at it again before you change it.`,
  );
}
