import { MemoryNetwork, seededRandom, VirtualClock } from '../../actors/index.js';
import { INITIAL_LOG } from '../../cluster/raft/initial-log.js';
import type { Message } from '../../machines/raft/types.js';
import { type Incarnation, Invariants } from './invariants.js';
import { Load } from './load.js';
import { Nemesis } from './nemesis.js';
import { type PlantedBug, type PlantedBugName, plantedBugs } from './planted-bugs.js';
import { SimulatedNode } from './simulated-node.js';
import { Trace } from './trace.js';

export interface SimulationOptions {
  /** Decides everything. */
  readonly seed: number;
  /** Virtual milliseconds of trouble, before the recovery that is checked too. */
  readonly trouble?: number;
  readonly bug?: PlantedBugName | undefined;
  /** Gets every event as a line. */
  readonly print?: (line: string) => void;
}

export interface SimulationReport {
  readonly seed: number;
  readonly bug: PlantedBugName | undefined;
  /** Equal for equal runs, and hardly ever otherwise. */
  readonly hash: string;
  /** What was broken; `undefined` when nothing was. */
  readonly violation: string | undefined;
  readonly figures: Readonly<Record<string, number>>;
}

const NODES = [1, 2, 3, 4, 5];
const MAJORITY = 3;
export const TROUBLE_MS = 40_000;
/** An election timeout is 20 ticks of 100 ms where a target is meant. */
const ELECTION_TIMEOUT_MS = 2_000;
const RECOVERY_MS = 20 * ELECTION_TIMEOUT_MS;
/** Milliseconds for the nodes to stop at the end. */
const CLOSE_MS = 10_000;
/** Most of the appends of several entries of which only the first arrive, as if the rest had come in lost messages. */
const CUT_APPENDS = 0.7;
/** Half of the seeds keep so little of the log in memory that much of it is read back from disk. */
const SMALL_CACHE_BYTES = 40;
const LARGE_CACHE_BYTES = 1_000_000;

/**
 * Five nodes with one Raft group between them, on virtual time: some seconds of trouble, then peace, in which they must
 * recover. All guarantees are checked after every event.
 */
export async function simulate(options: SimulationOptions): Promise<SimulationReport> {
  return new RaftSimulation(options).run();
}

/** What was broken, and the command that shows how it came about. */
export function replayLine({ seed, violation, bug }: SimulationReport): string {
  const planted = bug === undefined ? '' : ` --bug ${bug}`;
  return `seed ${seed}: ${violation}. Replay: npm run -s simulate -- --seed ${seed}${planted}`;
}

class RaftSimulation {
  readonly #options: SimulationOptions;
  readonly #clock = new VirtualClock();
  readonly #trace: Trace;
  readonly #network: MemoryNetwork;
  readonly #nodes: SimulatedNode[];
  readonly #invariants: Invariants;
  readonly #load: Load;
  readonly #nemesis: Nemesis;
  readonly #crashed = new Set<string>();

  constructor(options: SimulationOptions) {
    this.#options = options;
    const clock = this.#clock;
    const root = seededRandom(options.seed);
    const random = () => seededRandom(root() * 2 ** 32);
    const trace = new Trace(() => clock.now(), options.print);
    this.#trace = trace;
    this.#network = new MemoryNetwork(clock, random());
    const bug: PlantedBug = options.bug === undefined ? {} : plantedBugs[options.bug];
    const cut = random();
    const cutAppends = CUT_APPENDS * cut();
    const maxCachedBytes = cut() < 0.5 ? SMALL_CACHE_BYTES : LARGE_CACHE_BYTES;
    this.#nodes = NODES.map(
      (id) =>
        new SimulatedNode({
          id,
          members: NODES,
          network: this.#network,
          clock,
          random: random(),
          bug,
          maxCachedBytes,
          appendLimit: ({ entries }) =>
            entries.length > 1 && cut() < cutAppends
              ? 1 + Math.floor(cut() * (entries.length - 1))
              : entries.length,
          sent: (node, message) => this.#sent(node, message),
          applies: (life, before, entries) => {
            const known = this.#invariants.applied.length;
            this.#invariants.applies(life, before, entries);
            for (const entry of entries) if (entry.index >= known) this.#load.applied(entry);
          },
          written: (node, ...entry) => this.#invariants.holds(node.title, ...entry),
          restarted: (node, register) => {
            trace.event(`${node.title} is up`);
            this.#invariants.checkDurability();
            this.#load.checkRegister(node.title, register);
          },
          broken: (sentence) => this.#invariants.broken(sentence),
          diskFailed: (node) => clock.immediate(() => this.#nemesis.crash(node)),
        }),
    );
    this.#invariants = new Invariants(
      this.#nodes.map(({ record }) => record),
      MAJORITY,
    );
    const broken = (sentence: string): void => this.#invariants.broken(sentence);
    const shared = { nodes: this.#nodes, clock, trace };
    this.#load = new Load({
      ...shared,
      random: random(),
      applied: this.#invariants.applied,
      unconfirmedReads: bug.unconfirmedReads ?? false,
      broken,
    });
    this.#nemesis = new Nemesis({
      ...shared,
      random: random(),
      network: this.#network,
      crashes: (node) => this.#crashed.add(node.title),
    });
    this.#network.filter(({ from, to, bytes }) => {
      trace.bytes(`${from} > ${to}`, bytes);
      return true;
    });
    this.#network.trace(({ from, to, bytes }) => trace.bytes(`${from} < ${to}`, bytes));
  }

  async run(): Promise<SimulationReport> {
    const { trouble = TROUBLE_MS } = this.#options;
    for (const node of this.#nodes) node.start();
    this.#load.start();
    this.#nemesis.start();
    await this.#until(() => false, trouble);
    this.#nemesis.stop();
    this.#load.markRecovery();
    const healed = this.#clock.now();
    const recovered = await this.#until(() => this.#recovered(), RECOVERY_MS);
    const recovery = this.#clock.now() - healed;
    if (!recovered) this.#invariants.broken(`no write reached all nodes within ${RECOVERY_MS} ms of peace`);
    this.#load.stop();
    await this.#close();
    this.#invariants.checkDurability();
    if (this.#invariants.violation === undefined) this.#load.checkAnswers(this.#crashed);
    const { violation } = this.#invariants;
    if (violation !== undefined) this.#trace.event(violation);
    const { seed, bug } = this.#options;
    return { seed, bug, hash: this.#trace.digest(), violation, figures: this.#figures(recovery) };
  }

  /** Runs until the condition holds, or something is broken; looks at everything after every event. */
  async #until(condition: () => boolean, limit: number): Promise<boolean> {
    let held = false;
    await this.#clock.runUntil(() => {
      this.#invariants.check(this.#incarnations());
      if (this.#invariants.violation !== undefined) return true;
      held = condition();
      return held;
    }, limit);
    return held;
  }

  *#incarnations(): Iterable<Incarnation> {
    for (const { process } of this.#nodes) if (process !== undefined) yield process;
  }

  #recovered(): boolean {
    const target = this.#load.recoveredAt;
    return target > 0 && this.#nodes.every(({ process }) => (process?.group.applied ?? 0) >= target);
  }

  async #close(): Promise<void> {
    let closed = 0;
    for (const node of this.#nodes) {
      void node.close().then(() => {
        closed++;
      });
    }
    const all = await this.#until(() => closed === this.#nodes.length, CLOSE_MS);
    if (!all) this.#invariants.broken('a node did not stop when it was asked to');
  }

  #sent(node: SimulatedNode, message: Message): void {
    this.#invariants.sent(node.title, message);
    if (this.#trace.verbose) this.#trace.say(describe(node, message));
    this.#nemesis.sends(node, message);
  }

  #figures(recovery: number): Record<string, number> {
    return {
      elections: this.#invariants.leaders.size,
      commits: this.#invariants.lastCommitted - INITIAL_LOG.index,
      ...this.#load.counts,
      ...this.#nemesis.counts,
      frames: this.#network.counts.sent,
      framesLost: this.#network.counts.lost,
      framesDuplicated: this.#network.counts.duplicated,
      framesReordered: this.#network.counts.reordered,
      events: this.#clock.executed,
      recovery,
    };
  }
}

function describe(node: SimulatedNode, message: Message): string {
  const { type, to, term, index, logTerm, entries, commit, reject } = message;
  const range = entries.length > 0 ? ` + ${entries.map((entry) => entry.term).join(',')}` : '';
  return `${node.title} > ${to}: ${type} term ${term} (${index}, ${logTerm})${range} commit ${commit}${reject ? ' reject' : ''}`;
}
