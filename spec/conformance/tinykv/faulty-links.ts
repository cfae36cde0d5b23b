import { filterFrame } from '../../../actors/envelopes.js';
import type { OutgoingFrame, Random, Transport } from '../../../actors/index.js';

/**
 * Faults between stores, the same over any transport: a filter where a store hands over its frames. As in TinyKV they
 * concern what peers say to each other, and nobody's way to the scheduler or to clients.
 */
export class FaultyLinks {
  readonly #random: Random;
  readonly #stores = new Set<string>();
  /** Stores on one side of a partition; the others are on the other side. */
  #aside: ReadonlySet<string> | undefined;
  /** Share of Raft messages that arrive. */
  #survival = 1;
  readonly #overhear: (to: string, frame: Uint8Array) => void;

  /** @param overhear gets what stores send to others than stores */
  constructor(random: Random, overhear: (to: string, frame: Uint8Array) => void = () => {}) {
    this.#random = random;
    this.#overhear = overhear;
  }

  /** The transport of a store. */
  wrap(node: string, transport: Transport): Transport {
    this.#stores.add(node);
    return {
      start: (host) => transport.start(host),
      send: (frame) => this.#send(node, frame, transport),
      openBulk: async (onChunk) => {
        const channel = await transport.openBulk(onChunk);
        const send = (to: string, chunk: Uint8Array): boolean =>
          this.#isCut(node, to) || this.#random() >= this.#survival || channel.send(to, chunk);
        return { send, close: () => channel.close() };
      },
      close: () => transport.close(),
    };
  }

  /** Nothing gets from one side to the other. */
  partition(aside: Iterable<string>): void {
    this.#aside = new Set(aside);
  }

  /** One more filter that loses this share of what the others let through. */
  drop(share: number): void {
    this.#survival *= 1 - share;
  }

  heal(): void {
    this.#aside = undefined;
    this.#survival = 1;
  }

  /** Nothing is lost. */
  get areWhole(): boolean {
    return this.#aside === undefined && this.#survival === 1;
  }

  #send(from: string, frame: OutgoingFrame, transport: Transport): boolean {
    const { node: to } = frame;
    if (!this.#stores.has(to)) {
      this.#overhear(to, frame.bytes);
      return transport.send(frame);
    }
    if (this.#isCut(from, to)) return true;
    if (this.#survival === 1) return transport.send(frame);
    const bytes = filterFrame(frame.bytes, ({ kind }) => kind !== 'raft' || this.#random() < this.#survival);
    return bytes === undefined || transport.send({ ...frame, bytes });
  }

  #isCut(from: string, to: string): boolean {
    return this.#aside !== undefined && this.#aside.has(from) !== this.#aside.has(to);
  }
}
