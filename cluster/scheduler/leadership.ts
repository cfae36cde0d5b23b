import type { Clock, Logger, TimerHandle } from '../../actors/index.js';
import type { ClusterPhase } from '../../machines/scheduler.machine.js';
import { backoffMs } from '../client/backoff.js';
import type { Collector } from '../gc/index.js';
import type { ClusterBirth } from './birth.js';
import type { SchedulerGroup } from './group.js';
import type { IdWindow } from './id-window.js';
import type { Placement } from './placement/index.js';
import type { SchedulerState } from './state.js';
import type { StoreWatch } from './store-watch.js';
import type { TimestampOracle } from './timestamps.js';

export interface LeadershipOptions {
  readonly cluster: string;
  readonly state: SchedulerState;
  readonly expectedStores: number;
  readonly maxEntryBytes: number;
  readonly clock: Clock;
  readonly random: () => number;
  readonly logger: Logger;
}

export interface LeadershipParts extends LeadershipOptions {
  readonly group: SchedulerGroup;
  readonly watch: StoreWatch;
  readonly placement: Placement;
  readonly timestamps: TimestampOracle;
  readonly collector: Collector;
  readonly ids: IdWindow;
  readonly birth: ClusterBirth;
  /** The state is complete and the cluster has its identity: requests may be answered. */
  readonly prepared: (phase: ClusterPhase) => void;
}

/** Milliseconds between two looks at who has been silent. */
const WATCH_INTERVAL_MS = 1_000;

/** What a scheduler does while it leads, from the election until it is deposed; what only a leader knows goes with that. */
export class Leadership {
  readonly #parts: LeadershipParts;
  /** Grows with each leadership, so that what an earlier one began knows that it is over. */
  #reign = 0;
  #ticker: TimerHandle | undefined;
  readonly #waits = new Set<TimerHandle>();

  constructor(parts: LeadershipParts) {
    this.#parts = parts;
  }

  /** Applies what earlier leaders left, gives the cluster its identity if it has none, then begins to serve. */
  prepare(): void {
    this.#takeOffice(++this.#reign, 1);
  }

  #takeOffice(reign: number, attempt: number): void {
    const { group, logger } = this.#parts;
    const { term } = group;
    group
      .caughtUp()
      .then(() => this.#initialize())
      .then(() => this.#prepared(reign, term))
      .catch((error: unknown) => {
        if (reign !== this.#reign) return;
        logger.debug({ err: error }, 'the scheduler could not take office yet');
        this.later(attempt, () => this.#takeOffice(reign, attempt + 1));
      });
  }

  async #initialize(): Promise<void> {
    const { cluster, expectedStores, maxEntryBytes, random, state, group } = this.#parts;
    if (state.cluster?.expectedStores === expectedStores) return;
    if (state.cluster !== undefined && state.regions.size > 0) return;
    const clusterId = 1 + Math.floor(random() * (Number.MAX_SAFE_INTEGER - 1));
    await group.propose({ initializeCluster: { clusterId, cluster, expectedStores, maxEntryBytes } });
  }

  #prepared(reign: number, term: number): void {
    if (reign !== this.#reign) return;
    const { clock, state, group, timestamps, watch, placement, collector, birth, prepared } = this.#parts;
    // Another leader may have come and gone since, and its entries need not be here yet.
    if (term !== group.raftGroup?.term) throw group.refusal('not-leader');
    timestamps.takeOffice(state.timestampLimit);
    for (const store of state.stores.values()) watch.follow(store, clock.now());
    placement.listen();
    collector.start();
    this.#tick();
    prepared(state.phase);
    birth.placeFirstRegion();
  }

  #tick(): void {
    const { clock, watch, placement, timestamps, collector } = this.#parts;
    watch.tick(clock.now(), placement.config.maxStoreDownTime);
    placement.tick();
    timestamps.tick();
    collector.tick();
    this.#ticker = clock.setTimeout(() => this.#tick(), WATCH_INTERVAL_MS);
  }

  /** Tries again after a wait, unless this leadership is over by then. */
  later(attempt: number, again: () => void): void {
    const { clock, random } = this.#parts;
    const wait = clock.setTimeout(
      () => {
        this.#waits.delete(wait);
        again();
      },
      backoffMs(attempt, random),
    );
    this.#waits.add(wait);
  }

  resign(): void {
    this.#reign++;
    const { clock, watch, placement, ids, timestamps, collector, birth } = this.#parts;
    if (this.#ticker !== undefined) clock.clearTimeout(this.#ticker);
    for (const wait of this.#waits) clock.clearTimeout(wait);
    this.#waits.clear();
    watch.clear();
    placement.stop();
    ids.forget();
    timestamps.resign();
    collector.stop();
    birth.resign();
  }
}
