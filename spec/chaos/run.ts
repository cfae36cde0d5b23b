import { join } from 'node:path';
import { realClock, seededRandom } from '../../actors/index.js';
import type { Database } from '../../cluster/client/database.js';
import { type Engine, openRocksEngine } from '../../storage/index.js';
import { Workload } from '../linearizability/workloads.js';
import { ChaosCluster, START_LIMIT_MS } from './cluster.js';
import { type FailoverFigures, Failovers } from './failovers.js';
import { FAULT_KINDS, type FaultContext, type FaultKind, makeFault } from './faults.js';
import { Prober } from './prober.js';
import { compareReplicas } from './replicas.js';

export interface ChaosOptions {
  readonly seed: number;
  /** SIGKILLs of stores after which it is enough. */
  readonly kills: number;
  /** Minutes after which it is enough in any case. */
  readonly minutes: number;
  readonly faults: readonly FaultKind[];
  readonly stores: number;
  /** Faults other than kills to be made one after the other, once each, instead of drawing them. */
  readonly others?: readonly FaultKind[];
  /** Data and logs go below it. */
  readonly directory: string;
  /** Is told what happens. */
  readonly say?: (line: string) => void;
}

export interface ChaosReport {
  readonly seed: number;
  readonly kills: number;
  readonly faults: Readonly<Record<string, number>>;
  /** Operations whose outcome is known, and those of which nobody knows; refused ones are neither. */
  readonly operations: number;
  readonly refused: number;
  readonly unknown: number;
  readonly failovers: { readonly all: FailoverFigures; readonly undisturbed: FailoverFigures };
  /** Milliseconds from the end of the last fault until every client's write was acknowledged and every store was up. */
  readonly recoveryMs: number;
  readonly seconds: number;
  /** What must not be, in sentences; none when all is well. */
  readonly violations: readonly string[];
  /** The histories of the keys that are wrong, as JSON lines. */
  readonly evidence: string;
}

/** 20 election timeouts of 20 ticks of 100 ms. */
const RECOVERY_LIMIT_MS = 40_000;
const READ_LIMIT_MS = 120_000;
const CHECK_LIMIT_MS = 300_000;
const DATABASES = 3;
const FIRST_WRITE_LIMIT_MS = 30_000;
/** Longest times without a kill, and without another fault. */
const KILL_PAUSE_MS = 2_000;
const OTHER_PAUSE_MS = 4_000;

/** Runs a load on a cluster of real processes while faults are made, then heals everything and judges. */
export async function runChaos(options: ChaosOptions): Promise<ChaosReport> {
  const violations: string[] = [];
  const cluster = await ChaosCluster.start({ ...options, died: (sentence) => violations.push(sentence) });
  let report: ChaosReport;
  try {
    report = await new ChaosRun(options, cluster, violations).run();
  } finally {
    await cluster.stop();
  }
  return { ...report, violations: [...report.violations, ...(await differencesOf(options))] };
}

/** What the disks of the stopped stores say of each other. */
async function differencesOf({ directory, stores }: ChaosOptions): Promise<string[]> {
  const engines = new Map<string, Engine>();
  try {
    for (let number = 1; number <= stores; number++) {
      const name = `store-${number}`;
      engines.set(name, await openRocksEngine({ path: join(directory, name) }));
    }
    return await compareReplicas(engines);
  } finally {
    for (const engine of engines.values()) await engine.close();
  }
}

class ChaosRun {
  readonly #options: ChaosOptions;
  readonly #cluster: ChaosCluster;
  readonly #violations: string[];
  readonly #failovers = new Failovers(realClock, (ms, disturbed) =>
    this.#say(
      `  writes are acknowledged again, ${ms.toFixed(0)} ms after the kill${disturbed ? ' (disturbed)' : ''}`,
    ),
  );
  readonly #faults: Record<string, number> = {};
  readonly #began = realClock.now();
  readonly #deadline: number;
  #kills = 0;
  #killsDone = false;

  constructor(options: ChaosOptions, cluster: ChaosCluster, violations: string[]) {
    this.#options = options;
    this.#cluster = cluster;
    this.#violations = violations;
    this.#deadline = this.#began + options.minutes * 60_000;
  }

  async run(): Promise<ChaosReport> {
    const { seed } = this.#options;
    const databases: Database[] = [];
    for (let i = 0; i < DATABASES; i++) databases.push(await this.#cluster.connect());
    await Promise.all(databases.map((database) => mustWrite(database, FIRST_WRITE_LIMIT_MS)));
    const workload = new Workload({ clock: realClock, random: seededRandom(seed), databases });
    const prober = new Prober({
      raw: (await this.#cluster.connect()).raw,
      clock: realClock,
      written: (calledAt) => this.#failovers.written(calledAt),
    });
    workload.start();
    prober.start();
    await Promise.all([this.#killStores(), this.#makeOtherFaults()]);
    const recoveryMs = await this.#heal(databases);
    prober.stop();
    await workload.stop();
    this.#say('reading everything');
    await workload.readEverything(READ_LIMIT_MS);
    this.#say('checking');
    const checkUntil = realClock.now() + CHECK_LIMIT_MS;
    const verdict = workload.verdict(() => realClock.now() > checkUntil);
    const { returned, failed, unknown } = workload.history.counts;
    return {
      seed,
      kills: this.#kills,
      faults: this.#faults,
      operations: returned,
      refused: failed,
      unknown,
      failovers: this.#failovers.figures(),
      recoveryMs,
      seconds: Math.round((realClock.now() - this.#began) / 1000),
      violations: [...this.#violations, ...verdict.violations],
      evidence: verdict.evidence,
    };
  }

  async #killStores(): Promise<void> {
    const { faults, kills } = this.#options;
    if (faults.includes('kill')) {
      for (let n = 0; this.#kills < kills && !this.#timeIsUp(); n++) {
        await this.#fault('kill', KILL_PAUSE_MS, n);
      }
    }
    this.#killsDone = true;
  }

  async #makeOtherFaults(): Promise<void> {
    const { faults, others, kills, seed } = this.#options;
    if (others !== undefined) {
      for (let n = 0; n < others.length && !this.#timeIsUp(); n++) {
        await this.#fault(others[n] ?? 'cut', OTHER_PAUSE_MS, n);
      }
      return;
    }
    const kinds = faults.filter((kind) => kind !== 'kill');
    const withKills = faults.includes('kill') && kills > 0;
    for (let n = 0; kinds.length > 0 && !this.#timeIsUp() && !(withKills && this.#killsDone); n++) {
      const kind = kinds[Math.floor(kinds.length * seededRandom(seed * 31 + n)())];
      if (kind !== undefined) await this.#fault(kind, OTHER_PAUSE_MS, n);
    }
  }

  /** Fault number `n` of its kind of loop: what is drawn for it depends on the seed and that number alone. */
  async #fault(kind: FaultKind, longestPause: number, n: number): Promise<void> {
    const random = seededRandom(
      this.#options.seed * 1_000_003 + n * FAULT_KINDS.length + FAULT_KINDS.indexOf(kind),
    );
    const context: FaultContext = {
      cluster: this.#cluster,
      random,
      sleep,
      began: (sentence) => {
        this.#say(sentence);
        this.#faults[kind] = (this.#faults[kind] ?? 0) + 1;
        return this.#failovers.faultBegan();
      },
      killed: (leader) => {
        this.#kills++;
        if (leader) this.#failovers.leaderKilled();
      },
    };
    await sleep(random() * longestPause);
    try {
      await makeFault(kind, context);
    } catch (error) {
      this.#violations.push(`after a fault of kind ${kind}: ${String(error)}`);
    }
  }

  #timeIsUp(): boolean {
    return realClock.now() > this.#deadline;
  }

  /** Starts what is dead, and waits until everything works as before. @returns milliseconds that it took */
  async #heal(databases: readonly Database[]): Promise<number> {
    const { scheduler, stores } = this.#cluster;
    this.#say('healing');
    for (const { cable } of stores) cable.heal();
    const dead = [scheduler, ...stores.map(({ node }) => node)].filter(({ pid }) => pid === undefined);
    for (const node of dead) {
      await node.start(START_LIMIT_MS).catch((error: unknown) => this.#violations.push(String(error)));
    }
    const from = realClock.now();
    try {
      await Promise.all(databases.map((database) => mustWrite(database, RECOVERY_LIMIT_MS)));
      await this.#allUp(from + RECOVERY_LIMIT_MS);
    } catch (error) {
      this.#violations.push(`the cluster did not come back within ${RECOVERY_LIMIT_MS} ms: ${String(error)}`);
    }
    return Math.round(realClock.now() - from);
  }

  async #allUp(deadline: number): Promise<void> {
    for (;;) {
      const status = await this.#cluster.status();
      const states = status?.stores.map(({ node, state }) => `${node} ${state}`) ?? [
        'the scheduler is silent',
      ];
      const leading = status?.regions.every(({ leader }) => leader !== null) === true;
      if (leading && status?.stores.every(({ state }) => state === 'Up')) return;
      if (realClock.now() > deadline) throw new Error(`${states.join(', ')}${leading ? '' : ', no leader'}`);
      await sleep(100);
    }
  }

  #say(line: string): void {
    const at = ((realClock.now() - this.#began) / 1000).toFixed(1);
    this.#options.say?.(`${at.padStart(7)} s  ${line}`);
  }
}

/** Writes until one is acknowledged. @throws the last error when none is in `limit` milliseconds */
async function mustWrite(database: Database, limit: number): Promise<void> {
  const deadline = realClock.now() + limit;
  for (;;) {
    try {
      return await database.raw.put('probe', 'probe', { timeout: 1_000 });
    } catch (error) {
      if (realClock.now() > deadline) throw error;
      await sleep(50);
    }
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}
