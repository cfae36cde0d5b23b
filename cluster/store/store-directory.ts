import type { Clock, Logger } from '../../actors/index.js';
import type { metapb } from '../../storage/proto/index.js';
import type { SchedulerClient } from '../pd-client.js';

/** Milliseconds between two questions to the scheduler about stores that are not known. */
const REFRESH_INTERVAL_MS = 500;

/** Which node is which store: what the scheduler says, and what messages of other stores show. */
export class StoreDirectory {
  readonly #scheduler: SchedulerClient;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #nodes = new Map<number, string>();
  #refreshing: Promise<void> | undefined;
  #refreshedAt = Number.NEGATIVE_INFINITY;

  constructor(scheduler: SchedulerClient, clock: Clock, logger: Logger) {
    this.#scheduler = scheduler;
    this.#clock = clock;
    this.#logger = logger;
  }

  /** The node's name; `undefined` when it is not known yet: the scheduler is asked, and the caller tries again later. */
  nodeOf(storeId: number): string | undefined {
    const node = this.#nodes.get(storeId);
    if (node === undefined && this.#clock.now() - this.#refreshedAt >= REFRESH_INTERVAL_MS)
      void this.refresh();
    return node;
  }

  /** What the scheduler says of a store now. @throws TroupeError `unavailable` */
  async storeOf(storeId: number): Promise<metapb.Store | undefined> {
    return (await this.#scheduler.getAllStores()).find(({ id }) => id === storeId);
  }

  /** Asks the scheduler for all stores. Never rejects: what stays unknown is asked for again. */
  refresh(): Promise<void> {
    this.#refreshedAt = this.#clock.now();
    this.#refreshing ??= this.#scheduler
      .getAllStores()
      .then(
        (stores) => {
          for (const { id, address } of stores) this.#nodes.set(id, address);
        },
        (error: unknown) =>
          this.#logger.debug({ err: error }, 'the scheduler could not be asked for the stores'),
      )
      .finally(() => {
        this.#refreshing = undefined;
      });
    return this.#refreshing;
  }
}
