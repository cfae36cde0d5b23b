/**
 * A node's metrics in Prometheus's words. Counters and gauges are read when somebody scrapes, from numbers that the node keeps
 * anyway; the disk's durations alone are observed as they happen, once a batch.
 */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { ActorSystem } from '../../actors/index.js';
import type { Engine } from '../../storage/index.js';
import type { DiskObserver } from '../raft/host.js';
import type { RequestTimes } from '../store/request-times.js';
import { type Measure, measuresOfActors, measuresOfDisk, measuresOfRole } from './measures.js';
import { requestLines } from './request-lines.js';

/** What is asked of a running node. */
export interface MeasuredNode {
  readonly system: ActorSystem;
  readonly engine: Engine;
  /** By the names in `measures.ts`; what is not there is not shown. */
  readonly measures: Readonly<Record<string, number>>;
  /** What clients ask of a store. */
  readonly requestTimes?: RequestTimes;
}

export interface NodeLabels {
  readonly cluster: string;
  readonly node: string;
  readonly role: 'scheduler' | 'store' | 'host';
  readonly version: string;
}

/** Seconds: from a write into the page cache to a disk that hangs. */
const DURATION_BUCKETS = [0.0002, 0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.5, 2];
const BATCH_BUCKETS = [256, 1024, 4096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304];

export class NodeMetrics implements DiskObserver {
  readonly #registry = new Registry();
  readonly #labels: NodeLabels;
  readonly #writes: Histogram;
  readonly #syncs: Histogram;
  readonly #batches: Histogram;
  #requests: RequestTimes | undefined;

  constructor(labels: NodeLabels) {
    this.#labels = labels;
    const registers = [this.#registry];
    collectDefaultMetrics({ register: this.#registry });
    // Gauges under the name of counters: `rate()` of them means nothing. `nodejs_active_resources` and its like say the same.
    for (const what of ['handles', 'requests', 'resources'])
      this.#registry.removeSingleMetric(`nodejs_active_${what}_total`);
    const { cluster, node, role, version } = labels;
    new Gauge({
      name: 'troupe_node_info',
      help: 'What runs here; always 1.',
      labelNames: ['cluster', 'node', 'role', 'version'],
      registers,
    }).set({ cluster, node, role, version }, 1);
    const histogram = (name: string, help: string, buckets: number[]) =>
      new Histogram({ name: `troupe_disk_${name}`, help, buckets, registers });
    this.#writes = histogram(
      'write_duration_seconds',
      'Time until RocksDB had taken a batch.',
      DURATION_BUCKETS,
    );
    this.#syncs = histogram(
      'sync_duration_seconds',
      'Time of a sync of the write-ahead log, which acknowledged writes wait for.',
      DURATION_BUCKETS,
    );
    this.#batches = histogram(
      'batch_bytes',
      'Bytes of keys and values in a batch: one for all that a turn brought.',
      BATCH_BUCKETS,
    );
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  written(milliseconds: number, bytes: number): void {
    this.#writes.observe(milliseconds / 1000);
    this.#batches.observe(bytes);
  }

  synced(milliseconds: number): void {
    this.#syncs.observe(milliseconds / 1000);
  }

  /** From now on a scrape shows what the node says. */
  attach(node: MeasuredNode): void {
    this.#requests = node.requestTimes;
    for (const measure of measuresOfActors(node.system)) this.#add(measure);
    for (const measure of measuresOfDisk(node.engine)) this.#add(measure);
    for (const measure of measuresOfRole(this.#labels.role, () => node.measures)) this.#add(measure);
  }

  /** The page of a scrape. */
  async text(): Promise<string> {
    const page = await this.#registry.metrics();
    return this.#requests === undefined ? page : page + requestLines(this.#requests);
  }

  #add({ type, name, help, labels = [], read }: Measure): void {
    const settings = { name, help, labelNames: [...labels], registers: [this.#registry] };
    if (type === 'gauge') {
      new Gauge({
        ...settings,
        async collect() {
          this.reset();
          // A metric without labels is 0 after a reset; where there is nothing to tell, it should tell nothing.
          if (labels.length === 0) this.remove();
          for (const [value, values] of await read()) this.set(values, value);
        },
      });
    } else {
      new Counter({
        ...settings,
        async collect() {
          this.reset();
          // A metric without labels is 0 after a reset; where there is nothing to tell, it should tell nothing.
          if (labels.length === 0) this.remove();
          for (const [value, values] of await read()) this.inc(values, value);
        },
      });
    }
  }
}
