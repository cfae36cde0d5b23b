/** What a data directory of `troupe up` remembers of its cluster: `cluster.json`. */

import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { TroupeError } from '../errors.js';

/** How many stores share the first region. */
export const FIRST_REPLICAS = 3;

/** How many nodes of a kind a cluster is to have; as it was, or three stores and one scheduler, where nothing is said. */
export interface AskedSize {
  readonly stores?: number | undefined;
  readonly schedulers?: number | undefined;
}

interface Remembered {
  readonly cluster: string;
  /** The highest number that a store ever had. */
  readonly stores: number;
  /** Numbers of stores that were taken offline: they never come again. */
  readonly gone: readonly number[];
  readonly schedulers: number;
}

/** Which nodes a cluster on this machine has; every change is written down at once. */
export class ClusterFile {
  readonly #file: string;
  #content: Remembered;

  private constructor(file: string, content: Remembered) {
    this.#file = file;
    this.#content = content;
    this.#write(content);
  }

  /**
   * Reconciles what is asked with what a data directory holds.
   * @throws TroupeError `identity` when the directory belongs to another cluster, to one with more stores, or with
   * another number of schedulers
   */
  static claim(directory: string, cluster: string, asked: AskedSize): ClusterFile {
    const file = join(directory, 'cluster.json');
    const known = existsSync(file) ? readRemembered(file) : undefined;
    if (known !== undefined && known.cluster !== cluster) {
      throw new TroupeError(
        'identity',
        `${directory} holds cluster "${known.cluster}", not "${cluster}": give --cluster ${known.cluster} or another --data`,
      );
    }
    const running = known === undefined ? 0 : known.stores - known.gone.length;
    const wanted = asked.stores ?? (known === undefined ? FIRST_REPLICAS : running);
    if (wanted < running) {
      throw new TroupeError(
        'identity',
        `${directory} holds ${running} stores and cannot start with ${wanted}: give --stores ${running} or another --data`,
      );
    }
    const schedulers = asked.schedulers ?? known?.schedulers ?? 1;
    if (known !== undefined && schedulers !== known.schedulers) {
      throw new TroupeError(
        'identity',
        `${directory} was made with --schedulers ${known.schedulers}, which is fixed for the cluster's life: give that, or another --data`,
      );
    }
    const stores = (known?.stores ?? 0) + wanted - running;
    return new ClusterFile(file, { cluster, stores, gone: known?.gone ?? [], schedulers });
  }

  /** How many schedulers. */
  get schedulers(): number {
    return this.#content.schedulers;
  }

  /** Node names of the stores. */
  get stores(): readonly string[] {
    const { stores, gone } = this.#content;
    return storeNames(stores).filter((_, place) => !gone.includes(place + 1));
  }

  /** @returns the name of one store more, which no store has had */
  addStore(): string {
    const stores = this.#content.stores + 1;
    this.#write({ ...this.#content, stores });
    return storeName(stores);
  }

  /** The store that was added last could not be started: its name may be given again. */
  takeBack(name: string): void {
    const { stores } = this.#content;
    if (name === storeName(stores)) this.#write({ ...this.#content, stores: stores - 1 });
  }

  /** A store is gone for good. */
  removeStore(name: string): void {
    const number = storeNames(this.#content.stores).indexOf(name) + 1;
    const { gone } = this.#content;
    if (number > 0 && !gone.includes(number)) this.#write({ ...this.#content, gone: [...gone, number] });
  }

  #write(content: Remembered): void {
    this.#content = content;
    const { gone, ...rest } = content;
    // Aside first: who is killed now leaves the old one.
    writeFileSync(`${this.#file}.new`, `${JSON.stringify(gone.length === 0 ? rest : content)}\n`);
    renameSync(`${this.#file}.new`, this.#file);
  }
}

/** Names of a local cluster's first stores. */
export function storeNames(count: number): string[] {
  return Array.from({ length: count }, (_, place) => storeName(place + 1));
}

function storeName(number: number): string {
  return `store-${number}`;
}

function readRemembered(file: string): Remembered {
  try {
    const content: unknown = JSON.parse(readFileSync(file, 'utf8'));
    if (typeof content === 'object' && content !== null && 'cluster' in content && 'stores' in content) {
      const { cluster, stores } = content;
      // Older ones had one, and said nothing of it.
      const schedulers = 'schedulers' in content ? content.schedulers : 1;
      const gone = 'gone' in content ? content.gone : [];
      if (
        typeof cluster === 'string' &&
        isCount(stores) &&
        isCount(schedulers) &&
        Array.isArray(gone) &&
        gone.every((number) => isCount(number) && number <= stores)
      )
        return { cluster, stores, schedulers, gone };
    }
  } catch {
    // Told below.
  }
  throw new TroupeError('identity', `${file} is damaged: it must say which cluster the directory holds`);
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) > 0 && Number(value) <= MOST_NODES;
}

/** Far above what a machine runs: a damaged file must not start thousands. */
const MOST_NODES = 10_000;
