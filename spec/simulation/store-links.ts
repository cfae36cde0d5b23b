import type { LinkFaults, MemoryNetwork } from '../../actors/index.js';

const CUT: Partial<LinkFaults> = { loss: 1 };
/**
 * The transports' contract, at most once and in order per pair of nodes: a write that was refused here must not arrive a
 * second time when its client has sent it elsewhere. What stores and schedulers say to each other has to stand more.
 */
const AS_PROMISED: Partial<LinkFaults> = { duplicate: 0, reorder: 0 };

/** One-way links between named nodes, the weather over all of them, and what is wrong with single ones. */
export class StoreLinks {
  readonly #network: MemoryNetwork;
  readonly #servers: readonly string[];
  readonly #nodes: readonly string[];
  /** By sender and receiver. */
  readonly #faults = new Map<string, Map<string, Partial<LinkFaults>>>();

  constructor(network: MemoryNetwork, servers: readonly string[], clients: readonly string[]) {
    this.#network = network;
    this.#servers = servers;
    this.#nodes = [...servers, ...clients];
  }

  weather(faults: LinkFaults): void {
    this.#network.faults = faults;
    for (const from of this.#nodes) for (const to of this.#nodes) this.#apply(from, to);
  }

  /** Faults of every way from one of the first to one of the others; `undefined` takes them back. */
  set(from: readonly string[], to: readonly string[], faults: Partial<LinkFaults> | undefined): void {
    for (const one of from) {
      let ways = this.#faults.get(one);
      if (ways === undefined) {
        ways = new Map();
        this.#faults.set(one, ways);
      }
      for (const other of to) {
        if (one === other) continue;
        if (faults === undefined) ways.delete(other);
        else ways.set(other, faults);
        this.#apply(one, other);
      }
    }
  }

  /** What those say does not reach these. */
  cut(from: readonly string[], to: readonly string[]): void {
    this.set(from, to, CUT);
  }

  heal(): void {
    this.set(this.#nodes, this.#nodes, undefined);
  }

  #apply(from: string, to: string): void {
    const faults = this.#faults.get(from)?.get(to);
    const promised = this.#servers.includes(from) && this.#servers.includes(to) ? undefined : AS_PROMISED;
    const both = faults === undefined && promised === undefined ? undefined : { ...promised, ...faults };
    this.#network.link(from, to, both);
  }
}
