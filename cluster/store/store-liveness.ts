import type { Clock, TimerHandle } from '../../actors/index.js';

export interface StoreLivenessOptions {
  readonly clock: Clock;
  /** Milliseconds from one sign of life to the next. */
  readonly interval: number;
  /** Milliseconds of silence after which a store is missing. */
  readonly timeout: number;
  /** Ids of the other stores that share regions with this one, as of now. */
  readonly neighbours: () => Iterable<number>;
  /** Sends this store's sign of life. @param answer because that store has just sent its own */
  readonly tell: (storeId: number, answer: boolean) => void;
  /** A store has been silent for too long. */
  readonly missing: (storeId: number) => void;
  /** A missing store was heard again; its peers know what they knew. */
  readonly returned: (storeId: number) => void;
  /** A store was heard in a new life: its peers have forgotten whom they followed and what they led. */
  readonly restarted: (storeId: number) => void;
}

interface Neighbour {
  /** Beats of this store since it was heard. */
  silence: number;
  /** 0 before it was heard. */
  incarnation: number;
  missing: boolean;
  /** On the clock: when it was heard, or when this store began to wait for it. */
  heardAt: number;
}

/** Beats between two looks at who the neighbours are. */
const BEATS_PER_LOOK = 5;

/**
 * Which of the stores that share regions with this one are alive: they tell each other at each beat, whatever the number of
 * regions. Sleeping regions rely on that (docs/decisions/hibernation.md).
 *
 * Silence is counted in this store's own beats, of which a late one counts once: a process that was paused, or whose clock
 * jumped, takes nobody for gone.
 */
export class StoreLiveness {
  readonly #options: StoreLivenessOptions;
  readonly #patience: number;
  readonly #stores = new Map<number, Neighbour>();
  #neighbours: ReadonlySet<number> = new Set();
  #beats = 0;
  #timer: TimerHandle | undefined;
  #stopped = false;

  constructor(options: StoreLivenessOptions) {
    this.#options = options;
    this.#patience = Math.ceil(options.timeout / options.interval);
  }

  start(): void {
    if (this.#stopped) return;
    this.#beat();
    this.#timer = this.#options.clock.setTimeout(() => this.start(), this.#options.interval);
  }

  /** The others take this store for gone from now on. */
  stop(): void {
    this.#stopped = true;
    if (this.#timer !== undefined) this.#options.clock.clearTimeout(this.#timer);
  }

  /** It has been silent for too long. */
  isMissing(storeId: number): boolean {
    return this.#stores.get(storeId)?.missing ?? false;
  }

  /** Milliseconds since a missing store was heard; `undefined` while it is not missing. */
  silenceOf(storeId: number): number | undefined {
    const store = this.#stores.get(storeId);
    return store?.missing ? this.#options.clock.now() - store.heardAt : undefined;
  }

  /** It has been heard lately: its silence would be noticed. */
  isAlive(storeId: number): boolean {
    const store = this.#stores.get(storeId);
    return store !== undefined && store.incarnation > 0 && !store.missing;
  }

  /**
   * @param incarnation grows with each start of the store
   * @param answer it was said because this store spoke, and is not answered
   */
  heard(storeId: number, incarnation: number, answer = false): void {
    const store = this.#storeOf(storeId);
    if (this.#stopped || incarnation < store.incarnation) return;
    // It has a region that is to have a peer here: a peer that does not know its region yet, or is not there at all.
    if (!answer && !this.#neighbours.has(storeId)) this.#options.tell(storeId, true);
    const { missing } = store;
    // Nobody relies on a store that was never heard.
    const restarted = incarnation > store.incarnation && store.incarnation > 0;
    store.incarnation = incarnation;
    store.silence = 0;
    store.heardAt = this.#options.clock.now();
    store.missing = false;
    if (restarted) this.#options.restarted(storeId);
    else if (missing) this.#options.returned(storeId);
  }

  #beat(): void {
    const { neighbours, tell, missing } = this.#options;
    const look = this.#neighbours.size === 0 || this.#beats % BEATS_PER_LOOK === 0;
    this.#beats++;
    if (look) this.#neighbours = new Set(neighbours());
    for (const id of this.#neighbours) {
      tell(id, false);
      const store = this.#storeOf(id);
      if (store.missing || ++store.silence <= this.#patience) continue;
      store.missing = true;
      missing(id);
    }
  }

  #storeOf(id: number): Neighbour {
    let store = this.#stores.get(id);
    if (store === undefined) {
      store = { silence: 0, incarnation: 0, missing: false, heardAt: this.#options.clock.now() };
      this.#stores.set(id, store);
    }
    return store;
  }
}
