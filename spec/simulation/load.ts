import type { Random, VirtualClock } from '../../actors/index.js';
import type { Outcome } from '../../cluster/raft/state-machine.js';
import type { Entry } from '../../machines/raft/types.js';
import { encodeOperation, operationOf, type Register } from './register.js';
import type { SimulatedNode } from './simulated-node.js';
import type { Trace } from './trace.js';

interface Operation {
  readonly id: number;
  readonly kind: 'write' | 'read';
  /** The life of the node that it was given to. */
  readonly node: string;
  /** Highest index that any operation had shown before this one began: what happened before must be seen. */
  readonly floor: number;
  answer: string | undefined;
}

export interface LoadParts {
  readonly nodes: readonly SimulatedNode[];
  readonly clock: VirtualClock;
  readonly random: Random;
  readonly trace: Trace;
  readonly applied: readonly (Entry | undefined)[];
  readonly unconfirmedReads: boolean;
  readonly broken: (sentence: string) => void;
}

const CLIENTS = 4;
/** Longest time, in milliseconds, that a client waits for an answer before it goes on; the answer may still come, and is checked. */
const PATIENCE_MS = 1500;
const PAUSE_MS = 250;
/** How often a client sends several operations at once, and how many at most. */
const BURSTS = 0.05;
const MAX_BURST = 100;

/**
 * Clients that write to and read from the register, each at a node of its choice, one operation after the other.
 *
 * The log itself is the witness of linearizability: writes stand in it in the order in which they took effect, so it is
 * enough that each operation shows an index above (reads: at or above) those which earlier ones had shown when it began.
 */
export class Load {
  readonly counts = { writes: 0, reads: 0, refused: 0, unanswered: 0 };
  readonly #parts: LoadParts;
  readonly #operations: Operation[] = [];
  /** Writes whose answer says that they are not, and never will be, in the log. */
  readonly #denied = new Map<number, string>();
  readonly #indexes = new Map<number, number>();
  #shown = 0;
  #running = false;
  /** Highest index of a write that was acknowledged and had begun after `markRecovery`. */
  recoveredAt = 0;
  #recoveryFrom = Number.POSITIVE_INFINITY;

  constructor(parts: LoadParts) {
    this.#parts = parts;
  }

  start(): void {
    this.#running = true;
    for (let client = 0; client < CLIENTS; client++) this.#pause(undefined);
  }

  stop(): void {
    this.#running = false;
  }

  /** Writes from now on count as progress. */
  markRecovery(): void {
    this.#recoveryFrom = this.#operations.length;
  }

  /** Everything that was applied for the first time, in order. */
  applied(entry: Entry): void {
    if (entry.data.length === 0) return;
    const id = operationOf(entry.data);
    const elsewhere = this.#indexes.get(id);
    if (elsewhere !== undefined)
      this.#parts.broken(`write ${id} stands in the log at ${elsewhere} and ${entry.index}`);
    this.#indexes.set(id, entry.index);
    const denied = this.#denied.get(id);
    if (denied !== undefined)
      this.#parts.broken(`write ${id} was answered ${denied}, and is at ${entry.index}`);
  }

  /** What a node finds on its disk is what the log up to its applied index makes: both were one write. */
  checkRegister(node: string, { visible, appliedIndex }: Register): void {
    let index = appliedIndex;
    while (index > 0 && !this.#parts.applied[index]?.data.length) index--;
    if (visible.index === index) return;
    this.#parts.broken(
      `${node} starts with the write at ${visible.index}, but its applied index ${appliedIndex} has that at ${index}`,
    );
  }

  /** Once all nodes are closed: only those that a crash swallowed may lack an answer. */
  checkAnswers(crashed: ReadonlySet<string>): void {
    for (const { id, kind, node, answer } of this.#operations) {
      if (answer !== undefined) continue;
      if (crashed.has(node)) this.counts.unanswered++;
      else this.#parts.broken(`${kind} ${id} never got an answer from ${node}`);
    }
  }

  #pause(hint: number | undefined): void {
    const { clock, random } = this.#parts;
    clock.setTimeout(() => this.#next(hint), random() * PAUSE_MS);
  }

  #next(hint: number | undefined): void {
    if (!this.#running) return;
    const { clock, nodes, random } = this.#parts;
    const hinted = random() < 0.8 ? nodes.find(({ id }) => id === hint) : undefined;
    const node = hinted ?? nodes[Math.floor(random() * nodes.length)];
    if (node?.process === undefined) return this.#pause(undefined);
    const kind = random() < 0.5 ? 'write' : 'read';
    const burst = random() < BURSTS ? 1 + Math.floor(random() * MAX_BURST) : 1;
    let waiting = true;
    const goOn = (outcome: Outcome<unknown> | undefined): void => {
      if (!waiting) return;
      waiting = false;
      clock.clearTimeout(patience);
      this.#pause(outcome?.ok ? node.id : outcome?.leader);
    };
    const patience = clock.setTimeout(() => goOn(undefined), PATIENCE_MS * random());
    for (let i = 0; i < burst; i++) this.#perform(node, node.process, kind, goOn);
  }

  #perform(
    node: SimulatedNode,
    process: NonNullable<SimulatedNode['process']>,
    kind: Operation['kind'],
    goOn: (outcome: Outcome<unknown>) => void,
  ): void {
    const { random, trace, unconfirmedReads } = this.#parts;
    const id = this.#operations.length + 1;
    const operation: Operation = { id, kind, node: node.title, floor: this.#shown, answer: undefined };
    this.#operations.push(operation);
    trace.event(`${kind} ${id} at ${node.title}`);
    const done = (outcome: Outcome<unknown>): void => {
      if (outcome.ok && kind === 'read') this.#read(operation, process);
      else this.#answered(operation, outcome);
      goOn(outcome);
    };
    if (kind === 'write') process.group.propose(encodeOperation(id, Math.floor(random() * 64)), done);
    else if (unconfirmedReads && process.group.isLeader) done({ ok: true, result: undefined });
    else process.group.read(done);
  }

  #read(operation: Operation, { register }: NonNullable<SimulatedNode['process']>): void {
    const { index, operation: writer } = register.visible;
    this.#answered(operation, { ok: true, result: index });
    const entry = this.#parts.applied[index];
    const held = entry === undefined ? 0 : operationOf(entry.data);
    if (held !== writer) {
      this.#parts.broken(
        `read ${operation.id} at ${operation.node} saw write ${writer} at ${index}, where ${held} is`,
      );
    }
  }

  #answered(operation: Operation, outcome: Outcome<unknown>): void {
    const { id, kind, node, floor } = operation;
    const { broken, trace } = this.#parts;
    const answer = outcome.ok ? `ok at ${outcome.result}` : outcome.code;
    trace.event(`${kind} ${id} at ${node}: ${answer}`);
    if (operation.answer !== undefined)
      broken(`${kind} ${id} was answered ${operation.answer}, then ${answer}`);
    operation.answer = answer;
    if (!outcome.ok) {
      this.counts.refused++;
      if (kind === 'read' || outcome.code === 'undetermined') return;
      this.#denied.set(id, answer);
      const index = this.#indexes.get(id);
      if (index !== undefined) broken(`write ${id} is at ${index}, and was answered ${answer}`);
      return;
    }
    const index = outcome.result as number;
    if (kind === 'write') {
      this.counts.writes++;
      if (this.#indexes.get(id) !== index)
        broken(`write ${id} was acknowledged at ${index}, where it is not`);
      if (index <= floor)
        broken(`write ${id} took effect at ${index}, but began after ${floor} had been seen`);
      if (id > this.#recoveryFrom && this.recoveredAt === 0) this.recoveredAt = index;
    } else {
      this.counts.reads++;
      if (index < floor) broken(`read ${id} at ${node} saw ${index}, but began after ${floor} had been seen`);
    }
    this.#shown = Math.max(this.#shown, index);
  }
}
