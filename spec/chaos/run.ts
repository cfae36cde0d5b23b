import { join } from 'node:path';
import { type Random, realClock, seededRandom } from '../../actors/index.js';
import type { Database } from '../../cluster/client/database.js';
import type { RegionInfo } from '../../cluster/index.js';
import { type Engine, openRocksEngine } from '../../storage/index.js';
import { Workload } from '../linearizability/workloads.js';
import { ChaosCluster, START_LIMIT_MS } from './cluster.js';
import { type FailoverFigures, Failovers } from './failovers.js';
import { FAULT_KINDS, type FaultContext, type FaultKind, makeFault } from './faults.js';
import { PROBED_KEY, Prober } from './prober.js';
import { firstRawKey, type RegionAct, type RegionActCounts, RegionActs } from './region-acts.js';
import { checkRegions, type MendOptions, mendRegions } from './region-health.js';
import { type Comparison, compareReplicas } from './replicas.js';

export interface ChaosOptions {
  readonly seed: number;
  /** SIGKILLs of stores after which it is enough. */
  readonly kills: number;
  /** Minutes after which it is enough in any case. */
  readonly minutes: number;
  readonly faults: readonly FaultKind[];
  readonly stores: number;
  /** Further arguments of each store. */
  readonly storeArguments?: readonly string[];
  /** Faults other than kills and acts on regions to be made one after the other, once each, instead of drawing them. */
  readonly others?: readonly FaultKind[];
  /** Acts on regions that are made until each was done once, however long the other faults take. */
  readonly acts?: readonly RegionAct[];
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
  /** How acts on regions ended, and how many regions there were at the end. */
  readonly acts: RegionActCounts;
  readonly regions: number;
  /** Peers that had missed their end and waited, when the stores stopped, until they might ask for it. */
  readonly orphans: readonly string[];
  /** What must not be, in sentences; none when all is well. */
  readonly violations: readonly string[];
  /** The histories of the keys that are wrong, as JSON lines. */
  readonly evidence: string;
}

/** 20 election timeouts of 20 ticks of 100 ms. */
const RECOVERY_LIMIT_MS = 40_000;
/** What acts on regions have left half done is ended, and all replicas are compared. */
const MEND_LIMIT_MS = 60_000;
const COMPARE_LIMIT_MS = 60_000;
const READ_LIMIT_MS = 120_000;
const CHECK_LIMIT_MS = 300_000;
const DATABASES = 3;
const FIRST_WRITE_LIMIT_MS = 30_000;
/** Longest times without a kill, and without another fault. */
const KILL_PAUSE_MS = 2_000;
const OTHER_PAUSE_MS = 4_000;
const REGION_PAUSE_MS = 1_000;
/** Acts on regions under way at a time. */
const REGION_ACTORS = 2;
const MOST_REGIONS = 30;

/** Runs a load on a cluster of real processes while faults are made, then heals everything and judges. */
export async function runChaos(options: ChaosOptions): Promise<ChaosReport> {
  const violations: string[] = [];
  const cluster = await ChaosCluster.start({ ...options, died: (sentence) => violations.push(sentence) });
  let report: Omit<ChaosReport, 'orphans' | 'regions'>;
  let regions: readonly RegionInfo[] = [];
  try {
    report = await new ChaosRun(options, cluster, violations).run();
    regions = await cluster.admin.cluster.regions();
  } finally {
    await cluster.stop();
  }
  const { differences, orphans } = await compareDisks(options, regions);
  return {
    ...report,
    regions: regions.length,
    orphans,
    violations: [...report.violations, ...differences],
  };
}

/** What the disks of the stopped stores say of each other. */
async function compareDisks(
  { directory, stores }: ChaosOptions,
  regions: readonly RegionInfo[],
): Promise<Comparison> {
  const engines = new Map<string, Engine>();
  try {
    for (let number = 1; number <= stores; number++) {
      const name = `store-${number}`;
      engines.set(name, await openRocksEngine({ path: join(directory, name) }));
    }
    return await compareReplicas(engines, regions);
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
  readonly #acts: RegionActs;
  #kills = 0;
  #killsDone = false;
  #faultsDone = false;

  constructor(options: ChaosOptions, cluster: ChaosCluster, violations: string[]) {
    this.#options = options;
    this.#cluster = cluster;
    this.#violations = violations;
    this.#deadline = this.#began + options.minutes * 60_000;
    this.#acts = new RegionActs({
      cluster: cluster.admin.cluster,
      firstKey: firstRawKey(cluster.admin.raw),
      clock: realClock,
      key: workloadKey,
      mostRegions: MOST_REGIONS,
      began: (_, sentence) => {
        const over = this.#faultBegan('region', sentence);
        return (fate, how) => {
          over();
          this.#say(`  ${sentence}: ${fate}${how && `, ${how}`}`);
        };
      },
    });
  }

  async run(): Promise<Omit<ChaosReport, 'orphans' | 'regions'>> {
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
    const onlyRegions = this.#options.faults.every((kind) => kind === 'region');
    const others = Promise.all([this.#killStores(), this.#makeOtherFaults()]).then(() => {
      this.#faultsDone = !onlyRegions;
    });
    await Promise.all([others, this.#changeRegions()]);
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
      acts: this.#acts.counts,
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
    const kinds = faults.filter((kind) => kind !== 'kill' && kind !== 'region');
    const withKills = faults.includes('kill') && kills > 0;
    for (let n = 0; kinds.length > 0 && !this.#timeIsUp() && !(withKills && this.#killsDone); n++) {
      const kind = kinds[Math.floor(kinds.length * seededRandom(seed * 31 + n)())];
      if (kind !== undefined) await this.#fault(kind, OTHER_PAUSE_MS, n);
    }
  }

  /** As long as there are other faults, or acts that are to be done and were not. */
  async #changeRegions(): Promise<void> {
    if (!this.#options.faults.includes('region')) return;
    const actors = Array.from({ length: REGION_ACTORS }, async (_, first) => {
      for (let n = first; !this.#timeIsUp(); n += REGION_ACTORS) {
        const undone = this.#undoneActs();
        if (this.#faultsDone && undone.length === 0) return;
        await this.#fault('region', REGION_PAUSE_MS, n, undone[n % undone.length]);
      }
    });
    await Promise.all(actors);
  }

  #undoneActs(): RegionAct[] {
    const { acts = [] } = this.#options;
    return acts.filter((act) => this.#acts.counts[act].done === 0);
  }

  /** Fault number `n` of its kind of loop: what is drawn for it depends on the seed and that number alone. */
  async #fault(kind: FaultKind, longestPause: number, n: number, act?: RegionAct): Promise<void> {
    const random = seededRandom(
      this.#options.seed * 1_000_003 + n * FAULT_KINDS.length + FAULT_KINDS.indexOf(kind),
    );
    const context: FaultContext = {
      cluster: this.#cluster,
      random,
      regions: this.#acts,
      act,
      sleep,
      began: (sentence) => this.#faultBegan(kind, sentence),
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

  #faultBegan(kind: FaultKind, sentence: string): () => void {
    this.#say(sentence);
    this.#faults[kind] = (this.#faults[kind] ?? 0) + 1;
    return this.#failovers.faultBegan();
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
    const recoveryMs = Math.round(realClock.now() - from);
    try {
      await this.#makeRegionsWhole();
    } catch (error) {
      this.#violations.push(String(error));
    }
    return recoveryMs;
  }

  /** Every key has its region, each region its peers, and all of them hold the same. */
  async #makeRegionsWhole(): Promise<void> {
    this.#say('mending regions');
    const { cluster } = this.#cluster.admin;
    const stores = (await cluster.status()).stores.map(({ id }) => id);
    const options = (limit: number): MendOptions => {
      return { cluster, stores, now: realClock.now, deadline: realClock.now() + limit };
    };
    const regions = await mendRegions(options(MEND_LIMIT_MS));
    this.#say(`comparing the replicas of ${regions.length} regions`);
    await checkRegions(options(COMPARE_LIMIT_MS));
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

/** A key as the workload has them, or may have. */
function workloadKey(random: Random): string {
  const kind = 'bilrs'.charAt(Math.floor(5 * random()));
  const number = Math.floor(10_000 ** random());
  return kind === 'i' ? `i/v${number}` : `${kind}${Math.floor(3 * random())}.${number % 20}`;
}

/** Writes until one is acknowledged. @throws the last error when none is in `limit` milliseconds */
async function mustWrite(database: Database, limit: number): Promise<void> {
  const deadline = realClock.now() + limit;
  for (;;) {
    try {
      return await database.raw.put(PROBED_KEY, 'probe', { timeout: 1_000 });
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
