import type { Clock } from '../../../actors/index.js';
import { metapb } from '../../../storage/proto/index.js';
import type { SchedulerState } from '../state.js';
import type { StoreWatch } from '../store-watch.js';
import type { PlacementConfig } from './config.js';
import { Coordinator } from './coordinator.js';
import type { RegionReport } from './region-report.js';
import type { SchedulerEntry } from './schedulers/index.js';
import type { Order } from './steps.js';
import { ClusterView } from './view.js';

export interface PlacementOptions {
  readonly state: SchedulerState;
  readonly watch: StoreWatch;
  readonly clock: Clock;
  readonly random: () => number;
  /** Unix milliseconds. */
  readonly wallTime: () => number;
  /** Nothing is placed until somebody sets it otherwise. */
  readonly haltedAtFirst: boolean;
  /** Sends an order to the store of a region's leader. */
  readonly send: (report: RegionReport, order: Order) => void;
  /** Enough regions have been heard of. */
  readonly collected: () => void;
  /** Placement was halted, or goes on. */
  readonly halted: (halted: boolean) => void;
  /** A store that was to be left holds nothing any more. */
  readonly drained: (storeId: number) => void;
}

/** What the leading scheduler knows of where everything is, and what it does about it. */
export class Placement {
  readonly view: ClusterView;
  readonly coordinator: Coordinator;
  readonly #options: PlacementOptions;
  #beganAt = 0;
  #started = false;
  #halted = false;

  constructor(options: PlacementOptions) {
    const { state, watch, clock } = options;
    this.#options = options;
    this.view = new ClusterView({
      regions: state.regions,
      stores: state.stores,
      watch: {
        stateOf: (id) => watch.stateOf(id),
        statsOf: (id) => watch.statsOf(id),
        // A new leader has heard of nobody, and counts from when it began to listen.
        silence: (id, now) => Math.min(watch.silence(id, now), now - this.#beganAt),
      },
      now: () => clock.now(),
    });
    this.coordinator = new Coordinator({
      ...options,
      view: this.view,
      schedulers: () => state.placement.schedulers,
      collected: () => {
        options.collected();
        if (this.#halted) options.halted(true);
      },
    });
  }

  get config(): PlacementConfig {
    return this.view.config;
  }

  /** Whether checkers and schedulers rest, because somebody said so. */
  get isHalted(): boolean {
    return this.#halted;
  }

  /** Leadership was won: reports are taken in from now on. */
  listen(): void {
    this.#beganAt = this.#options.clock.now();
    // What came in while an earlier leadership ended counts for nothing.
    this.view.clear();
    this.configure();
  }

  /** The cluster has all its first regions: begins to place them when enough have been heard of. */
  start(): void {
    if (this.#started) return;
    this.#started = true;
    this.coordinator.start();
  }

  /** Leadership is lost. */
  stop(): void {
    this.#started = false;
    this.coordinator.stop();
    this.view.clear();
  }

  /** Takes in what was set at run time. */
  configure(): void {
    const { placement } = this.#options.state;
    const haltScheduling = placement.isSet('halt-scheduling')
      ? placement.config.haltScheduling
      : this.#options.haltedAtFirst;
    this.view.config = { ...placement.config, haltScheduling };
    this.view.storeLimits = placement.storeLimits;
    const storesOf = (wanted: SchedulerEntry['kind']): ReadonlySet<number> =>
      new Set(placement.schedulers.filter(({ kind }) => kind === wanted).map(({ store }) => store));
    this.view.evicted = storesOf('evict-leader');
    this.view.granted = storesOf('grant-leader');
    if (haltScheduling !== this.#halted) {
      this.#halted = haltScheduling;
      this.#options.halted(haltScheduling);
    }
    this.coordinator.reconsider();
  }

  /**
   * Takes in what a region's leader tells.
   * @returns what the leader is to do
   */
  heard(report: RegionReport): Order | undefined {
    this.view.put(report);
    return this.coordinator.heard(report);
  }

  regionGone(regionId: number): void {
    this.coordinator.regionGone(regionId);
    this.view.remove(regionId);
  }

  /** Looks for stores that have been drained. */
  tick(): void {
    const { state, drained } = this.#options;
    for (const { id, state: decided } of state.stores.values()) {
      if (decided !== metapb.StoreState.Offline || this.view.loadOf(id).regionCount > 0) continue;
      // A peer that is being made there has not been told of yet.
      if (this.coordinator.operators.brings(id)) continue;
      const holds = state.regions.all().some(({ peers }) => peers.some(({ storeId }) => storeId === id));
      if (!holds) drained(id);
    }
  }
}
