/** The inspector's side of the protocol: announces what it wants to see for as long as it looks, and reads what comes. */

import type { Clock, TimerHandle } from '../clock.js';
import { type InspectionLease, MAX_TTL_MS } from './lease.js';
import { type InspectionBatch, readBatch } from './records.js';

/** An inspector's way to the nodes of a cluster. */
export interface ObserverLink {
  /** To every node. */
  announce(lease: Uint8Array): void;
  /** Hears and says nothing more. */
  close(): Promise<void>;
}

/** Makes the way; `receive` gets every batch that any node publishes. */
export type OpenObserverLink = (receive: (bytes: Uint8Array) => void) => Promise<ObserverLink>;

/** Who looks, by which way, and who is told. */
export interface ObserverOptions {
  readonly watcher: string;
  readonly clock: Clock;
  readonly open: OpenObserverLink;
  /** Is given each batch as it comes. */
  readonly onBatch: (batch: InspectionBatch) => void;
  /** Milliseconds that a node goes on telling when nothing is heard of this observer any more (6,000). */
  readonly ttl?: number;
}

/** What an inspector wants to see, for as long as it says so. */
export type Wanted = Omit<InspectionLease, 'watcher' | 'ttl'>;

/** What is looked at where nobody says more: every change of state, one in 1024 of the other events, 400 records a second and node. */
export const DEFAULT_WANTED: Wanted = { paths: [''], every: 1024, perSecond: 400 };

const DEFAULT_TTL_MS = 6_000;

/**
 * Looks at the nodes of a cluster: it says what it wants, again and again until `close`, and hands on what they tell.
 */
export class InspectionObserver {
  readonly #options: ObserverOptions;
  readonly #link: ObserverLink;
  readonly #wanted = new Map<string, Wanted>();
  #timer: TimerHandle | undefined;
  #closed = false;

  private constructor(options: ObserverOptions, link: ObserverLink) {
    this.#options = options;
    this.#link = link;
  }

  /** @throws ActorSystemError `unavailable` or `unauthorized` */
  static async open(options: ObserverOptions): Promise<InspectionObserver> {
    const link = await options.open((bytes) => {
      const batch = readBatch(bytes);
      if (batch !== undefined) options.onBatch(batch);
    });
    return new InspectionObserver(options, link);
  }

  /** Asks for something from now on; a later wish of the same name takes the place of the earlier one. */
  want(name: string, wanted: Wanted): void {
    if (this.#closed) return;
    this.#wanted.set(name, wanted);
    this.#announce(name, wanted, this.#ttl);
    this.#timer ??= this.#options.clock.setTimeout(this.#renew, this.#ttl / 3);
  }

  /** Asks for it no more. */
  forgo(name: string): void {
    const wanted = this.#wanted.get(name);
    if (wanted === undefined) return;
    this.#wanted.delete(name);
    this.#announce(name, wanted, 0);
  }

  /** Nodes stop telling at once. Idempotent. */
  async close(): Promise<void> {
    if (this.#closed) return;
    for (const name of [...this.#wanted.keys()]) this.forgo(name);
    this.#closed = true;
    if (this.#timer !== undefined) this.#options.clock.clearTimeout(this.#timer);
    await this.#link.close();
  }

  get #ttl(): number {
    return Math.min(this.#options.ttl ?? DEFAULT_TTL_MS, MAX_TTL_MS);
  }

  readonly #renew = (): void => {
    this.#timer = undefined;
    if (this.#closed || this.#wanted.size === 0) return;
    for (const [name, wanted] of this.#wanted) this.#announce(name, wanted, this.#ttl);
    this.#timer = this.#options.clock.setTimeout(this.#renew, this.#ttl / 3);
  };

  #announce(name: string, wanted: Wanted, ttl: number): void {
    const lease: InspectionLease = { ...wanted, watcher: `${this.#options.watcher}-${name}`, ttl };
    this.#link.announce(new TextEncoder().encode(JSON.stringify(lease)));
  }
}
