import type { Clock, Logger } from '../../actors/index.js';
import type { metapb } from '../../storage/proto/index.js';
import type { SchedulerClient } from '../pd-client.js';
import { pdpb } from '../proto/index.js';
import { LedRegion } from './led-region.js';
import type { RegionReplica } from './replica.js';

/** A leader repeats what it says of its region after this long, though nothing changed; of one that sleeps, PD's minute. */
const REGION_HEARTBEAT_MS = 10_000;
const RESTING_HEARTBEAT_MS = 60_000;
/** Heartbeats that wait for their answers; what happens to further regions is told when there is room. */
const MAX_UNANSWERED = 512;
/** Milliseconds of looking and telling at a time; then others have the event loop. */
const SLICE_MS = 5;
/** Regions between two looks at the clock. */
const REGIONS_PER_LOOK = 16;

export interface RegionHeartbeatsOptions {
  readonly scheduler: SchedulerClient;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly replicas: ReadonlyMap<number, RegionReplica>;
  /** As this store's disk has it: no restart may show an older one than the scheduler was told. */
  readonly durableRegion: (replica: RegionReplica) => metapb.Region;
  readonly unixSeconds: () => number;
  /** Milliseconds since a store was heard that is missing; `undefined` while it is not. */
  readonly silenceOf: (storeId: number) => number | undefined;
  /** The scheduler's answer to a heartbeat, which may hold an order. */
  readonly answered: (answer: pdpb.RegionHeartbeatResponse) => void;
}

/**
 * Tells the scheduler of the regions that this store leads: at once what changes in a region, within a second which of its
 * members are down or pending, and everything again at an interval.
 */
export class RegionHeartbeats {
  readonly #options: RegionHeartbeatsOptions;
  readonly #led = new Map<number, LedRegion>();
  /** Regions that the present round has not looked at. */
  #round: Iterator<RegionReplica> | undefined;
  /** The round goes on when an answer comes. */
  #waits = false;
  #unanswered = 0;
  #stopped = false;

  constructor(options: RegionHeartbeatsOptions) {
    this.#options = options;
  }

  stop(): void {
    this.#stopped = true;
  }

  /** Begins a round through all regions, unless one is under way. To be called every second. */
  tellDue(): void {
    if (this.#round !== undefined) return;
    this.#round = this.#options.replicas.values();
    this.#slice();
  }

  /** A new scheduler leads, and knows of no region who leads it. */
  tellAll(): void {
    for (const led of this.#led.values()) led.reportedAt = Number.NEGATIVE_INFINITY;
    this.tellDue();
  }

  /** An election, a change of membership, a split or a merge is told at once. */
  regionChanged(replica: RegionReplica): void {
    const led = this.#ledRegion(replica);
    if (led === undefined) return;
    if (this.#unanswered < MAX_UNANSWERED) this.#tell(replica, led);
    else led.reportedAt = Number.NEGATIVE_INFINITY;
  }

  /** All parts of a split together, so that no key is without a region at the scheduler. */
  regionSplit(parent: RegionReplica, parts: readonly metapb.Region[]): void {
    const { scheduler, logger } = this.#options;
    if (this.#ledRegion(parent) === undefined) return;
    scheduler.reportBatchSplit(parts).catch((error: unknown) => {
      logger.debug({ err: error, region: parent.region.id }, 'the report of a split was lost');
    });
    this.regionChanged(parent);
  }

  regionGone(regionId: number): void {
    this.#led.delete(regionId);
  }

  #slice(): void {
    const { clock } = this.#options;
    const until = clock.now() + SLICE_MS;
    for (let looked = 1; this.#round !== undefined && !this.#stopped; looked++) {
      if (this.#unanswered >= MAX_UNANSWERED) {
        this.#waits = true;
        return;
      }
      const { value, done } = this.#round.next();
      if (done) this.#round = undefined;
      else this.#tellIfDue(value);
      if (looked % REGIONS_PER_LOOK === 0 && clock.now() >= until) {
        clock.immediate(() => this.#slice());
        return;
      }
    }
  }

  #tellIfDue(replica: RegionReplica): void {
    const led = this.#ledRegion(replica);
    const { raftGroup: group } = replica;
    if (led === undefined || group === undefined) return;
    const now = this.#options.clock.now();
    const rests = group.asleep && led.isWhole;
    const due = now - led.reportedAt >= (rests ? RESTING_HEARTBEAT_MS : REGION_HEARTBEAT_MS);
    if (due || led.hasNews(this.#options.durableRegion(replica), now)) this.#tell(replica, led);
  }

  /** `undefined` where this store does not lead. */
  #ledRegion(replica: RegionReplica): LedRegion | undefined {
    const { raftGroup: group, region } = replica;
    const known = this.#led.get(region.id);
    if (this.#stopped || !group?.isLeader) {
      if (known !== undefined) this.#led.delete(region.id);
      return undefined;
    }
    if (known?.term === group.term) return known;
    const { clock, unixSeconds, silenceOf } = this.#options;
    const led = new LedRegion({
      group,
      region,
      flow: replica.flow,
      now: clock.now(),
      unixSeconds: unixSeconds(),
      silenceOf,
    });
    this.#led.set(region.id, led);
    return led;
  }

  #tell(replica: RegionReplica, led: LedRegion): void {
    const { clock, scheduler, logger, unixSeconds, durableRegion, answered } = this.#options;
    const region = durableRegion(replica);
    const flow = led.flow.take(unixSeconds());
    const heartbeat = pdpb.RegionHeartbeatRequest.from({
      region,
      leader: replica.peer,
      term: led.term,
      approximateSize: Math.round(replica.size.bytes ?? 0),
      approximateKeys: Math.round(replica.size.keys ?? 0),
      ...flow,
      ...led.tell(region, clock.now()),
    });
    this.#unanswered++;
    scheduler
      .regionHeartbeat(heartbeat)
      .then(answered)
      .catch((error: unknown) => {
        logger.debug({ err: error, region: region.id }, 'a region heartbeat was lost');
        led.flow.giveBack(flow);
        led.reportedAt = Number.NEGATIVE_INFINITY;
      })
      .finally(() => {
        this.#unanswered--;
        if (!this.#waits) return;
        this.#waits = false;
        clock.immediate(() => this.#slice());
      });
  }
}
