/** A cluster with many regions, and what its processes cost. */

import { mkdtempSync, rmSync } from 'node:fs';
import { connect as dialSocket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { connectTo } from '../cli/connection.js';
import type { LocalCluster } from '../cli/local-cluster.js';
import type { Database } from '../index.js';
import { OBSERVER_DIRECTORY, type Observation, type ObserverRequest, socketOf } from './observer.js';
import { usageOf } from './processes.js';
import { startLocalCluster } from './target-troupe.js';

/** Parts that one split makes beside the one that is there. */
const PARTS_AT_ONCE = 200;
/** Splits under way at once. */
const SPLITTERS = 3;
const LOOK_MS = 100;
const PATIENCE_MS = 300_000;

export class RegionsCluster {
  readonly #directory: string;
  readonly #cluster: LocalCluster;
  /** Closed with the cluster. */
  readonly db: Database;

  private constructor(directory: string, cluster: LocalCluster, db: Database) {
    this.#directory = directory;
    this.#cluster = cluster;
    this.db = db;
  }

  /** @param below where its data goes */
  static async start(below: string): Promise<RegionsCluster> {
    const directory = mkdtempSync(join(below, 'troupe-bench-regions-'));
    process.env[OBSERVER_DIRECTORY] = directory;
    process.env.NODE_OPTIONS = `--import=${new URL('./observer.js', import.meta.url).href}`;
    const cluster = await startLocalCluster(directory);
    return new RegionsCluster(directory, cluster, await connectTo(cluster.settings));
  }

  async stop(): Promise<void> {
    await this.db.close();
    await this.#cluster.stop();
    rmSync(this.#directory, { recursive: true, force: true });
  }

  get natsUrl(): string {
    return this.#cluster.natsUrl;
  }

  get name(): string {
    return this.#cluster.settings.cluster;
  }

  get stores(): string[] {
    return this.#cluster.nodes().flatMap(({ name }) => (name.startsWith('store') ? [name] : []));
  }

  /** CPU seconds of each process so far, by its name; this one, with the clients, is `client`. */
  cpu(): ReadonlyMap<string, number> {
    const own = process.cpuUsage();
    return new Map([
      ...this.#cluster.nodes().map(({ name, pid }) => [name, usageOf(pid ? [pid] : []).cpuSeconds] as const),
      ['client', (own.user + own.system) / 1e6] as const,
    ]);
  }

  residentBytes(node: string): number {
    return usageOf([this.pidOf(node)]).residentBytes;
  }

  pidOf(node: string): number {
    const pid = this.#cluster.nodes().find(({ name }) => name === node)?.pid;
    if (pid === undefined) throw new Error(`${node} is not running`);
    return pid;
  }

  observe(node: string, request: ObserverRequest): Promise<Observation> {
    const path = `${socketOf(this.#directory, node)}.${this.pidOf(node)}`;
    return new Promise((resolve, reject) => {
      const socket = dialSocket(path, () => socket.write(JSON.stringify(request)));
      let answer = '';
      socket.setEncoding('utf8');
      socket.on('data', (text) => {
        answer += text;
      });
      socket.on('end', () => resolve(JSON.parse(answer) as Observation));
      socket.on('error', reject);
    });
  }

  /** The same request to all stores. */
  async observeStores(ask: ObserverRequest['ask']): Promise<ReadonlyMap<string, Observation>> {
    return new Map(
      await Promise.all(this.stores.map(async (name) => [name, await this.observe(name, { ask })] as const)),
    );
  }

  /** Profiles every store and the scheduler while `work` runs, when there is a directory for it. */
  async profiled<T>(into: string | undefined, title: string, work: () => Promise<T>): Promise<T> {
    if (into === undefined) return work();
    const nodes = [...this.stores, 'scheduler-1'];
    await Promise.all(nodes.map((node) => this.observe(node, { ask: 'startProfile' })));
    const result = await work();
    const file = (node: string) => join(into, `${title}-${node}.cpuprofile`);
    await Promise.all(
      nodes.map((node) => this.observe(node, { ask: 'stopProfile', file: file(node) }).catch(() => {})),
    );
    return result;
  }

  /** Splits until there are so many regions, each with a leader. */
  async makeRegions(count: number): Promise<void> {
    const coarse: string[] = [];
    for (let i = PARTS_AT_ONCE; i < count; i += PARTS_AT_ONCE) coarse.push(borderOf(i));
    const terms = { wait: false, timeout: PATIENCE_MS };
    if (coarse.length > 0) await this.db.cluster.splitRegion(coarse, terms);
    let next = 0;
    const splitter = async (): Promise<void> => {
      while (next < count) {
        const first = next;
        next += PARTS_AT_ONCE;
        const keys: string[] = [];
        for (let i = first + 1; i < Math.min(count, first + PARTS_AT_ONCE); i++) keys.push(borderOf(i));
        if (keys.length > 0) await this.db.cluster.splitRegion(keys, terms);
      }
    };
    await Promise.all(Array.from({ length: SPLITTERS }, splitter));
    await this.until('every region has a leader', async () => (await this.leaders()) === count);
    await this.until('the scheduler knows every region and its leader', async () => {
      const regions = await this.db.cluster.regions({ timeout: PATIENCE_MS });
      return regions.length === count && regions.every(({ leader }) => leader !== null);
    });
  }

  /** Regions that are led, as the stores say themselves. */
  leaders(): Promise<number> {
    return this.#cluster.counted('leaders');
  }

  counted(counter: string): Promise<number> {
    return this.#cluster.counted(counter);
  }

  async until(what: string, condition: () => Promise<boolean>): Promise<void> {
    const end = performance.now() + PATIENCE_MS;
    while (!(await condition())) {
      if (performance.now() > end) throw new Error(`it did not come to this: ${what}`);
      await sleep(LOOK_MS);
    }
  }
}

/** The key at which region number `i` begins, counted from 0; the first begins at the beginning. */
export function borderOf(i: number): string {
  return `r${String(i).padStart(6, '0')}`;
}

/** A key of region number `region`. */
export function keyIn(region: number, number: number): string {
  return `${borderOf(region)}/${String(number).padStart(4, '0')}`;
}
