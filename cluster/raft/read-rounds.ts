import type { LeaderLease } from './leader-lease.js';
import type { Outcome } from './state-machine.js';

export type ReadDone = (outcome: Outcome<void>) => void;

/** Reads of one ReadIndex round; `index` is set when the round is confirmed. */
interface ReadRound {
  readonly sequence: number;
  readonly term: number;
  readonly sentAt: number;
  readonly callbacks: ReadDone[];
  index: number;
}

/** Reads that may wait in one group before more are refused as `busy`. */
const MAX_WAITING_READS = 65_536;
/** Rounds under way at once: one on the wire, one that gathers what comes meanwhile. */
const MAX_READ_ROUNDS = 2;

const SERVED: Outcome<void> = { ok: true, result: undefined };

/**
 * The reads of one group that wait: for a round of heartbeats to confirm that this replica leads, then for the applied
 * state to reach the round's index (ReadIndex, Raft thesis 6.4). All reads of a turn share one round.
 */
export class ReadRounds {
  readonly #lease: LeaderLease | undefined;
  #gathering: ReadDone[] = [];
  readonly #rounds: ReadRound[] = [];
  #waiting = 0;
  #sequence = 0;

  constructor(lease: LeaderLease | undefined) {
    this.#lease = lease;
  }

  get full(): boolean {
    return this.#waiting >= MAX_WAITING_READS;
  }

  get isEmpty(): boolean {
    return this.#waiting === 0;
  }

  /** The next round should start: there are reads for it, and there is room. */
  get due(): boolean {
    return this.#gathering.length > 0 && this.#onTheWire < MAX_READ_ROUNDS;
  }

  get #onTheWire(): number {
    let count = 0;
    for (const round of this.#rounds) if (round.index === 0) count++;
    return count;
  }

  /** A read that needs a round. */
  add(done: ReadDone): void {
    this.#waiting++;
    this.#gathering.push(done);
  }

  /** A read that is confirmed already, and waits only for `index` to be applied. */
  addConfirmed(term: number, index: number, done: ReadDone): void {
    this.#waiting++;
    const last = this.#rounds.at(-1);
    if (last !== undefined && last.index === index && last.term === term) last.callbacks.push(done);
    else this.#rounds.push({ sequence: ++this.#sequence, term, sentAt: 0, callbacks: [done], index });
  }

  /** Starts a round with everything that gathered; `ask` puts the question to the core, and may refuse. */
  start(term: number, now: number, ask: (context: Uint8Array) => boolean, refusal: Outcome<void>): void {
    const callbacks = this.#gathering;
    this.#gathering = [];
    const sequence = ++this.#sequence;
    const round: ReadRound = { sequence, term, sentAt: now, callbacks, index: 0 };
    this.#rounds.push(round);
    if (ask(readContext(sequence))) return;
    this.#rounds.splice(this.#rounds.indexOf(round), 1);
    this.#finish(round, refusal);
  }

  /** The core answered: leadership at the round's start is confirmed, reads need `index`. */
  confirm(context: Uint8Array, index: number): void {
    const sequence = readSequence(context);
    const round = this.#rounds.find((one) => one.sequence === sequence);
    if (round === undefined) return;
    round.index = index;
    this.#lease?.confirm(round.term, round.sentAt);
  }

  /** A confirmed read waits for entries whose changes are not visible yet. */
  waitBeyond(applied: number): boolean {
    return this.#rounds.some((round) => round.index > applied);
  }

  /** Serves what `applied` is enough for. */
  serve(applied: number): void {
    for (let i = 0; i < this.#rounds.length; ) {
      const round = this.#rounds[i];
      if (round === undefined || round.index === 0 || round.index > applied) {
        i++;
        continue;
      }
      this.#rounds.splice(i, 1);
      this.#finish(round, SERVED);
    }
  }

  /** Leadership may have been lost and won again since the last Ready: the core has forgotten what it was asked before. */
  dropOlder(term: number, refusal: Outcome<void>): void {
    while (this.#rounds[0] !== undefined && this.#rounds[0].term !== term) {
      const round = this.#rounds.shift();
      if (round !== undefined) this.#finish(round, refusal);
    }
  }

  fail(refusal: Outcome<void>): void {
    const rounds = this.#rounds.splice(0);
    const gathering = this.#gathering;
    this.#gathering = [];
    this.#waiting -= gathering.length;
    for (const round of rounds) this.#finish(round, refusal);
    for (const done of gathering) done(refusal);
  }

  #finish(round: ReadRound, outcome: Outcome<void>): void {
    this.#waiting -= round.callbacks.length;
    for (const done of round.callbacks) done(outcome);
  }
}

function readContext(sequence: number): Uint8Array {
  const context = new Uint8Array(8);
  new DataView(context.buffer).setFloat64(0, sequence);
  return context;
}

function readSequence(context: Uint8Array): number {
  return new DataView(context.buffer, context.byteOffset, 8).getFloat64(0);
}
