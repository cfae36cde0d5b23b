/**
 * Importing lines of records: many in flight, acknowledged in order as far as the caller is told, sent again when the
 * outcome is not known (the put is the same put).
 */

import { isUtf8 } from 'node:buffer';
import { TroupeError } from '../errors.js';
import { decodeRecord, type KvRecord, NotARecord } from './ndjson.js';

/** A batch is sent when it holds this many records or bytes. */
const BATCH_RECORDS = 256;
const BATCH_BYTES = 128 * 1024;
const BATCHES_IN_FLIGHT = 16;
const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 1000;

/** Codes after which the same put may succeed later. */
export const PASSING: ReadonlySet<string> = new Set(['unavailable', 'timeout', 'undetermined']);

export interface ImportOptions {
  readonly lines: AsyncIterable<readonly Buffer[]>;
  /** Lines to pass over at the beginning: an earlier run imported them. */
  readonly skipLines: number;
  /** Writes records durably; throws TroupeError. */
  readonly put: (records: readonly KvRecord[]) => Promise<unknown>;
  /** How long to go on without any success, milliseconds. */
  readonly patienceMs: number;
  /** Ends the import early, without an error: what is in flight is still waited for. */
  readonly signal: AbortSignal;
  readonly progress: ImportProgress;
}

/** Written by the importer, read by whoever shows or saves it. */
export interface ImportProgress {
  /** Every line up to this number is durable (blank ones and skipped ones count). */
  acknowledgedLine: number;
  /** Records that were acknowledged, in any order. */
  records: number;
}

/** A line was refused; what was acknowledged before it stays. */
export class BadLine extends TroupeError {
  readonly line: number;

  constructor(line: number, reason: string, cause?: unknown) {
    super('failed', `line ${line} is not a record: ${reason}`, { cause });
    this.line = line;
  }
}

interface NumberedRecord extends KvRecord {
  readonly line: number;
  readonly id: string;
}

interface Batch {
  readonly records: readonly NumberedRecord[];
  readonly lastLine: number;
  done: boolean;
}

/**
 * Imports until the lines end, the signal aborts, or something fails for good; every acknowledged line is in `progress`.
 * @throws BadLine, or the TroupeError of the put that failed
 */
export function importRecords(options: ImportOptions): Promise<void> {
  return new Importer(options).run();
}

class Importer {
  readonly #options: ImportOptions;
  /** In the order of their lines. */
  readonly #underway: Batch[] = [];
  /** Keys in flight: two puts of one key must not overtake each other. */
  readonly #keys = new Set<string>();
  #inFlight = 0;
  #failure: unknown;
  #lastSuccess = performance.now();
  #wake: () => void = () => {};

  #records: NumberedRecord[] = [];
  #bytes = 0;
  #line = 0;

  constructor(options: ImportOptions) {
    this.#options = options;
  }

  async run(): Promise<void> {
    const { lines, signal } = this.#options;
    const wake = (): void => this.#wake();
    signal.addEventListener('abort', wake);
    try {
      try {
        for await (const some of lines) {
          for (const line of some) {
            if (this.#over()) break;
            if (this.#take(line)) await this.#send();
          }
          if (this.#over()) break;
        }
        if (!this.#over()) await this.#send();
      } catch (error) {
        // A bad line, or an input that broke: what came before it is still sent.
        await this.#send();
        this.#failure ??= error;
      }
      await this.#until(() => this.#inFlight === 0);
    } finally {
      signal.removeEventListener('abort', wake);
    }
    if (this.#failure !== undefined) throw this.#failure;
  }

  #over(): boolean {
    return this.#failure !== undefined || this.#options.signal.aborted;
  }

  /** Takes one line; true when a batch is full. */
  #take(line: Buffer): boolean {
    this.#line++;
    if (this.#line <= this.#options.skipLines) {
      this.#options.progress.acknowledgedLine = this.#line;
      return false;
    }
    const text = isUtf8(line) ? line.toString('utf8').trim() : undefined;
    if (text === '') return false;
    const record = this.#decode(text);
    this.#records.push(record);
    this.#bytes += record.key.length + record.value.length;
    return this.#records.length >= BATCH_RECORDS || this.#bytes >= BATCH_BYTES;
  }

  #decode(text: string | undefined): NumberedRecord {
    if (text === undefined) throw new BadLine(this.#line, 'it is not UTF-8');
    try {
      const { key, value } = decodeRecord(text);
      return { key, value, line: this.#line, id: Buffer.from(key).toString('latin1') };
    } catch (error) {
      if (error instanceof NotARecord) throw new BadLine(this.#line, error.message);
      throw error;
    }
  }

  /** Sends what was taken, when there is room and none of its keys is in flight. */
  async #send(): Promise<void> {
    const taken = this.#records;
    this.#records = [];
    this.#bytes = 0;
    const lastLine = taken.at(-1)?.line;
    if (lastLine === undefined) return;
    // Of several records of one key in a batch the last one counts.
    const records = [...new Map(taken.map((record) => [record.id, record])).values()];
    await this.#until(
      () =>
        this.#over() ||
        (this.#inFlight < BATCHES_IN_FLIGHT && records.every(({ id }) => !this.#keys.has(id))),
    );
    if (this.#over()) return;
    const batch: Batch = { records, lastLine, done: false };
    this.#underway.push(batch);
    this.#inFlight++;
    for (const { id } of records) this.#keys.add(id);
    void this.#deliver(batch, taken.length);
  }

  async #deliver(batch: Batch, count: number): Promise<void> {
    try {
      await this.#putAll(batch.records, count);
      batch.done = true;
      for (let first = this.#underway[0]; first?.done; first = this.#underway[0]) {
        this.#options.progress.acknowledgedLine = first.lastLine;
        this.#underway.shift();
      }
    } catch (error) {
      this.#failure ??= error;
    } finally {
      this.#inFlight--;
      for (const { id } of batch.records) this.#keys.delete(id);
      this.#wake();
    }
  }

  /** @param count how many records of the input they stand for */
  async #putAll(records: readonly NumberedRecord[], count: number): Promise<void> {
    try {
      await this.#putUntilKnown(records);
      this.#options.progress.records += count;
    } catch (error) {
      if (!(error instanceof TroupeError && error.code === 'invalid-argument')) throw error;
      // One of them is refused: alone, each tells whether it is the one.
      for (const record of records) {
        try {
          await this.#putUntilKnown([record]);
          this.#options.progress.records++;
        } catch (cause) {
          const refused = cause instanceof TroupeError && cause.code === 'invalid-argument';
          throw refused ? new BadLine(record.line, cause.message, cause) : cause;
        }
      }
    }
  }

  async #putUntilKnown(records: readonly NumberedRecord[]): Promise<void> {
    for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)) {
      try {
        await this.#options.put(records);
        this.#lastSuccess = performance.now();
        return;
      } catch (error) {
        const passing = error instanceof TroupeError && PASSING.has(error.code);
        const patient = performance.now() - this.#lastSuccess < this.#options.patienceMs;
        if (!passing || !patient || this.#over()) throw error;
        await new Promise((resolve) => setTimeout(resolve, pauseMs));
      }
    }
  }

  async #until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}
