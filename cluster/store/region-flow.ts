import type { pdpb } from '../proto/index.js';

/** Bytes of stored keys and values, and number of keys. */
export interface Flow {
  readonly bytesWritten: number;
  readonly keysWritten: number;
  readonly bytesRead: number;
  readonly keysRead: number;
}

/** Flow between two heartbeats, as both kinds of them carry it. Without an interval it is all zero. */
export interface ToldFlow extends Flow {
  readonly interval: pdpb.TimeInterval | undefined;
}

/** Counts what is written and read: some additions for each command and each call, whatever their number of keys. */
export class FlowCount implements Flow {
  bytesWritten = 0;
  keysWritten = 0;
  bytesRead = 0;
  keysRead = 0;
  readonly #whole: FlowCount | undefined;

  /** @param whole counts the same, and what others count */
  constructor(whole?: FlowCount) {
    this.#whole = whole;
  }

  /** A command was applied. */
  wrote(bytes: number, keys: number): void {
    this.bytesWritten += bytes;
    this.keysWritten += keys;
    this.#whole?.wrote(bytes, keys);
  }

  /** A call was answered. */
  read(bytes: number, keys: number): void {
    this.bytesRead += bytes;
    this.keysRead += keys;
    this.#whole?.read(bytes, keys);
  }
}

const NOTHING: ToldFlow = { bytesWritten: 0, keysWritten: 0, bytesRead: 0, keysRead: 0, interval: undefined };

/** What of a count the scheduler was told, so that each heartbeat carries what came since. */
export class FlowMeter {
  readonly #count: Flow;
  #since: number;
  #bytesWritten: number;
  #keysWritten: number;
  #bytesRead: number;
  #keysRead: number;

  /** What was counted before does not count. @param now Unix seconds */
  constructor(count: Flow, now: number) {
    this.#count = count;
    this.#since = now;
    this.#bytesWritten = count.bytesWritten;
    this.#keysWritten = count.keysWritten;
    this.#bytesRead = count.bytesRead;
    this.#keysRead = count.keysRead;
  }

  /**
   * For a heartbeat that leaves now. Within a second of the last one it carries nothing: no rate could be told from that, and
   * the next one carries it.
   * @param now Unix seconds
   */
  take(now: number): ToldFlow {
    if (now <= this.#since) return NOTHING;
    const { bytesWritten, keysWritten, bytesRead, keysRead } = this.#count;
    const told: ToldFlow = {
      bytesWritten: bytesWritten - this.#bytesWritten,
      keysWritten: keysWritten - this.#keysWritten,
      bytesRead: bytesRead - this.#bytesRead,
      keysRead: keysRead - this.#keysRead,
      interval: { startTimestamp: this.#since, endTimestamp: now },
    };
    this.#since = now;
    this.#bytesWritten = bytesWritten;
    this.#keysWritten = keysWritten;
    this.#bytesRead = bytesRead;
    this.#keysRead = keysRead;
    return told;
  }

  /** That heartbeat was not answered: the next one carries it too. */
  giveBack({ bytesWritten, keysWritten, bytesRead, keysRead, interval }: ToldFlow): void {
    if (interval === undefined) return;
    this.#since = Math.min(this.#since, interval.startTimestamp);
    this.#bytesWritten -= bytesWritten;
    this.#keysWritten -= keysWritten;
    this.#bytesRead -= bytesRead;
    this.#keysRead -= keysRead;
  }
}
