/** What a node has to tell, on its way: gathered for a moment, then sent as a batch. */

import type { Clock, TimerHandle } from '../clock.js';
import type { InspectionChannel } from '../transport.js';
import type { HeldLease } from './lease.js';
import type { InspectionBatch, InspectionRecord } from './records.js';
import { statelyEventsOf } from './stately.js';

export interface OutboxOptions {
  readonly node: string;
  readonly incarnation: number;
  readonly clock: Clock;
  /** Unix milliseconds. */
  readonly wallClock: () => number;
  readonly leases: () => ReadonlyMap<string, HeldLease>;
}

/** Milliseconds that a record may wait for others, and how many do at most. */
const FLUSH_MS = 40;
const BATCH_RECORDS = 128;
/** A batch that would be larger is sent in halves; a single record that is, not at all. */
const MAX_BATCH_BYTES = 512 * 1024;
/** Who has nothing to tell says so this often, while somebody looks: silence means that a node is gone. */
const ALIVE_MS = 1000;

export class Outbox {
  channel: InspectionChannel | undefined;
  readonly #options: OutboxOptions;
  #records: InspectionRecord[] = [];
  #timer: TimerHandle | undefined;
  #sequence = 0;
  #aliveAt = 0;

  constructor(options: OutboxOptions) {
    this.#options = options;
  }

  add(record: InspectionRecord): void {
    this.gather(record);
    if (this.#records.length > 0) this.#timer ??= this.#options.clock.setTimeout(() => this.send(), FLUSH_MS);
  }

  /** The same, for one who sends soon. */
  gather(record: InspectionRecord): void {
    this.#records.push(record);
    if (this.#records.length >= BATCH_RECORDS) this.send();
  }

  /** Sends what has gathered, and how much was left out. */
  send(): void {
    const { clock, leases } = this.#options;
    const records = this.#records;
    this.clear();
    const leftOut: Record<string, Record<string, number>> = {};
    for (const [watcher, held] of leases()) {
      const counts = held.takeLeftOut();
      if (counts !== undefined) leftOut[watcher] = counts;
    }
    const isDue = clock.now() >= this.#aliveAt;
    if (records.length > 0 || Object.keys(leftOut).length > 0 || isDue) this.#publish(records, leftOut);
    this.#publishStately(records);
  }

  /** Nobody is to be told any more. */
  clear(): void {
    if (this.#timer !== undefined) this.#options.clock.clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#records = [];
  }

  #publish(records: readonly InspectionRecord[], leftOut: InspectionBatch['leftOut']): void {
    const { node, incarnation, clock, wallClock } = this.#options;
    const at = clock.now();
    this.#aliveAt = at + ALIVE_MS;
    const batch: InspectionBatch = {
      version: 1,
      node,
      incarnation,
      sequence: ++this.#sequence,
      at,
      wall: wallClock(),
      records,
      leftOut,
    };
    const bytes = encoded(batch);
    if (bytes.length <= MAX_BATCH_BYTES) {
      this.channel?.publish('records', bytes);
    } else if (records.length > 1) {
      const middle = Math.ceil(records.length / 2);
      this.#publish(records.slice(0, middle), leftOut);
      this.#publish(records.slice(middle), {});
    }
  }

  #publishStately(records: readonly InspectionRecord[]): void {
    const { node, wallClock, leases } = this.#options;
    let wanted = false;
    for (const { lease } of leases().values()) wanted ||= lease.stately === true;
    if (!wanted) return;
    for (const record of records)
      for (const event of statelyEventsOf(record, node, wallClock))
        this.channel?.publish('stately', encoded(event));
  }
}

const ENCODER = new TextEncoder();

function encoded(value: object): Uint8Array {
  return ENCODER.encode(JSON.stringify(value));
}
