import { createHash } from 'node:crypto';

/**
 * Everything that happens in a simulation, in order, as one hash: two runs with the same hash were the same run. With a
 * printer it is also a log to read.
 */
export class Trace {
  readonly #hash = createHash('sha256');
  readonly #now: () => number;
  readonly #print: ((line: string) => void) | undefined;

  constructor(now: () => number, print?: (line: string) => void) {
    this.#now = now;
    this.#print = print;
  }

  /** Something happened. */
  event(text: string): void {
    this.#hash.update(`${this.#now()} ${text}\n`);
    this.say(text);
  }

  /** Bytes were sent or arrived. */
  bytes(text: string, bytes: Uint8Array): void {
    this.#hash.update(`${this.#now()} ${text} ${bytes.length}\n`);
    this.#hash.update(bytes);
  }

  get verbose(): boolean {
    return this.#print !== undefined;
  }

  /** For readers only: what the hash has seen in another form. */
  say(text: string): void {
    this.#print?.(`${this.#now().toFixed(3).padStart(10)}  ${text}`);
  }

  /** Ends the trace. */
  digest(): string {
    return this.#hash.digest('hex');
  }
}
