import type { ActorSystem } from '../../actors/index.js';
import type { SchedulerClient } from '../pd-client.js';
import type { ClusterAdmin } from './cluster-admin.js';
import type { Dispatcher } from './dispatcher.js';
import type { Pauses } from './pauses.js';
import type { RawSpace } from './raw.js';
import type { TimestampClient } from './timestamps.js';

interface DatabaseParts {
  readonly system: ActorSystem;
  readonly dispatcher: Dispatcher;
  readonly raw: RawSpace;
  readonly cluster: ClusterAdmin;
  readonly scheduler: SchedulerClient;
  readonly timestamps: TimestampClient;
  /** The waits of `cluster`. */
  readonly pauses: Pauses;
}

/** A connection to a cluster. Made by `connect`. */
export class Database {
  readonly raw: RawSpace;
  readonly cluster: ClusterAdmin;
  readonly #system: ActorSystem;
  readonly #dispatcher: Dispatcher;
  readonly #scheduler: SchedulerClient;
  readonly #timestamps: TimestampClient;
  readonly #pauses: Pauses;

  constructor({ system, dispatcher, raw, cluster, scheduler, timestamps, pauses }: DatabaseParts) {
    this.#scheduler = scheduler;
    this.#timestamps = timestamps;
    this.#pauses = pauses;
    this.raw = raw;
    this.cluster = cluster;
    this.#system = system;
    this.#dispatcher = dispatcher;
  }

  /** Rejects what is under way with `closed`, and disconnects. Idempotent. */
  async close(): Promise<void> {
    this.#dispatcher.close();
    this.#timestamps.close();
    this.#scheduler.close();
    this.#pauses.close();
    await this.#system.close();
  }
}
