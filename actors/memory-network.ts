import type { Lane } from './addresses.js';
import type { Clock } from './clock.js';
import { type Envelope, filterFrame } from './envelopes.js';
import { ActorSystemError } from './errors.js';
import type { OpenObserverLink } from './inspection/observer.js';
import type { Random } from './random.js';
import type { BulkChannel, InspectionChannel, OutgoingFrame, Transport, TransportHost } from './transport.js';

/** What happens to frames on the way from one node to another. Probabilities are 0 to 1. */
export interface LinkFaults {
  /** Milliseconds, drawn evenly from this range for every frame. Order is kept all the same. */
  readonly delay: readonly [least: number, most: number];
  readonly loss: number;
  /** The frame arrives twice, each with a delay of its own. */
  readonly duplicate: number;
  /** The frame does not wait for those that were sent before it. */
  readonly reorder: number;
}

const NO_FAULTS: LinkFaults = { delay: [0, 0], loss: 0, duplicate: 0, reorder: 0 };

/** A frame between two nodes, as filters and traces see it. */
export interface FrameInFlight {
  readonly from: string;
  readonly to: string;
  /** `bulk`: a chunk beside the messages. */
  readonly lane: Lane | 'bulk';
  readonly bytes: Uint8Array;
}

/** Looks at every frame when it is sent; false loses it. */
export type FrameFilter = (frame: FrameInFlight) => boolean;

const DEFAULT_MAX_FRAME = 1024 * 1024;

/**
 * The network of a simulation: every node in one process, time from the clock, chance from the random source. The same
 * seed and the same calls give the same deliveries. Without faults it keeps what NATS keeps: order per pair of nodes.
 */
export class MemoryNetwork {
  /** Faults of every pair that `link` did not single out. */
  faults: LinkFaults = NO_FAULTS;
  /** Bytes of the largest frame. */
  maxFrame = DEFAULT_MAX_FRAME;
  readonly counts = { sent: 0, delivered: 0, lost: 0, duplicated: 0, reordered: 0, shown: 0 };
  readonly #nodes = new Map<string, MemoryTransport>();
  readonly #links = new Map<string, LinkFaults>();
  readonly #queues = new Map<string, InOrder>();
  readonly #observers = new Set<(bytes: Uint8Array) => void>();
  #groups: readonly (readonly string[])[] = [];
  #filters: readonly FrameFilter[] = [];
  #envelopeFilters: readonly ((frame: FrameInFlight, envelope: Envelope) => boolean)[] = [];
  #traces: readonly ((frame: FrameInFlight, at: number) => void)[] = [];

  constructor(
    private readonly clock: Clock,
    private readonly random: Random,
    faults: Partial<LinkFaults> = {},
  ) {
    this.faults = { ...NO_FAULTS, ...faults };
  }

  /** A transport for one start of the node; after a crash the node takes a new one. */
  transport(node: string): Transport {
    return new MemoryTransport(this, node);
  }

  /** Faults of one direction between two nodes; `undefined` takes them back. */
  link(from: string, to: string, faults: Partial<LinkFaults> | undefined): void {
    if (faults === undefined) this.#links.delete(pair(from, to));
    else this.#links.set(pair(from, to), { ...this.faults, ...faults });
  }

  /** Only nodes of the same group hear each other; nodes in no group hear everybody. */
  partition(...groups: readonly (readonly string[])[]): void {
    this.#groups = groups;
  }

  /** Ends the partition. */
  heal(): void {
    this.#groups = [];
  }

  /** @returns how to remove the filter */
  filter(filter: FrameFilter): () => void {
    this.#filters = [...this.#filters, filter];
    return () => {
      this.#filters = this.#filters.filter((other) => other !== filter);
    };
  }

  /**
   * Looks at every message on its own; false takes it out of its frame.
   * @returns how to remove the filter
   */
  filterEnvelopes(filter: (frame: FrameInFlight, envelope: Envelope) => boolean): () => void {
    this.#envelopeFilters = [...this.#envelopeFilters, filter];
    return () => {
      this.#envelopeFilters = this.#envelopeFilters.filter((other) => other !== filter);
    };
  }

  /**
   * Sees every delivery, in order.
   * @returns how to stop
   */
  trace(listener: (frame: FrameInFlight, at: number) => void): () => void {
    this.#traces = [...this.#traces, listener];
    return () => {
      this.#traces = this.#traces.filter((other) => other !== listener);
    };
  }

  /** An inspector's way to every node. What it announces and what they tell takes a moment, and is not lost. */
  readonly observer: OpenObserverLink = async (receive) => {
    this.#observers.add(receive);
    return {
      announce: (lease) => {
        for (const node of this.#nodes.values()) this.clock.immediate(() => node.onLease?.(lease));
      },
      close: async () => {
        this.#observers.delete(receive);
      },
    };
  };

  /** @internal */
  show(bytes: Uint8Array): void {
    this.counts.shown++;
    for (const receive of this.#observers) this.clock.immediate(() => receive(bytes));
  }

  /** The node's process dies: it hears nothing, sends nothing, and its actor system runs nothing any more. */
  crash(node: string): void {
    const transport = this.#nodes.get(node);
    this.#nodes.delete(node);
    transport?.crash();
  }

  /** The node loses its connection: it hears nothing and knows it. */
  disconnect(node: string): void {
    this.#nodes.get(node)?.setConnected(false);
  }

  /** The connection is back; what was published meanwhile is lost. */
  reconnect(node: string): void {
    this.#nodes.get(node)?.setConnected(true);
  }

  /** @internal */
  join(node: string, transport: MemoryTransport): void {
    if (this.#nodes.has(node)) {
      throw new ActorSystemError('name-taken', `a live node named ${node} already answers`);
    }
    this.#nodes.set(node, transport);
  }

  /** @internal */
  leave(node: string, transport: MemoryTransport): void {
    if (this.#nodes.get(node) === transport) this.#nodes.delete(node);
  }

  /** @internal */
  carry(sent: FrameInFlight, firstAsk: number, lastAsk: number): void {
    this.counts.sent++;
    const { from, to } = sent;
    const faults = this.#links.get(pair(from, to)) ?? this.faults;
    const frame = this.#filtered(sent);
    if (frame === undefined || !this.#connected(from, to) || this.#chance(faults.loss)) {
      this.counts.lost++;
      return;
    }
    const copies = this.#chance(faults.duplicate) ? 2 : 1;
    this.counts.duplicated += copies - 1;
    for (let copy = 0; copy < copies; copy++) {
      const arrive = (): void => this.#arrive(frame, firstAsk, lastAsk);
      const [least, most] = faults.delay;
      const delay = most > least ? least + (most - least) * this.random() : least;
      if (this.#chance(faults.reorder)) {
        this.counts.reordered++;
        this.clock.setTimeout(arrive, delay);
      } else {
        this.#queue(sent).add(arrive, delay);
      }
    }
  }

  #filtered(frame: FrameInFlight): FrameInFlight | undefined {
    for (const filter of this.#filters) if (!filter(frame)) return undefined;
    if (this.#envelopeFilters.length === 0 || frame.lane === 'bulk') return frame;
    const bytes = filterFrame(frame.bytes, (envelope) =>
      this.#envelopeFilters.every((filter) => filter(frame, envelope)),
    );
    return bytes && { ...frame, bytes };
  }

  #arrive(frame: FrameInFlight, firstAsk: number, lastAsk: number): void {
    const { from, to, lane, bytes } = frame;
    const target = this.#nodes.get(to);
    if (target === undefined) {
      this.counts.lost++;
      if (firstAsk > 0) this.#nodes.get(from)?.host?.undeliverable(to, firstAsk, lastAsk);
      return;
    }
    if (!this.#connected(from, to) || !target.connected) {
      this.counts.lost++;
      return;
    }
    this.counts.delivered++;
    for (const trace of this.#traces) trace(frame, this.clock.now());
    if (lane === 'bulk') target.onChunk?.(bytes);
    else target.host?.receive(lane, bytes);
  }

  #connected(from: string, to: string): boolean {
    const group = this.#groups.find((nodes) => nodes.includes(from));
    const other = this.#groups.find((nodes) => nodes.includes(to));
    return group === undefined || other === undefined || group === other;
  }

  #chance(probability: number): boolean {
    return probability > 0 && this.random() < probability;
  }

  /** Messages and chunks travel by different connections, and do not wait for each other. */
  #queue({ from, to, lane }: FrameInFlight): InOrder {
    const key = lane === 'bulk' ? `${pair(from, to)} bulk` : pair(from, to);
    let queue = this.#queues.get(key);
    if (queue === undefined) {
      queue = new InOrder(this.clock);
      this.#queues.set(key, queue);
    }
    return queue;
  }
}

/** Deliveries of one pair: each waits its delay, and for those before it. */
class InOrder {
  readonly #waiting: (() => void)[] = [];
  #last = 0;

  constructor(private readonly clock: Clock) {}

  add(deliver: () => void, delay: number): void {
    const now = this.clock.now();
    this.#last = Math.max(this.#last, now + delay);
    this.#waiting.push(deliver);
    // Whichever timer fires first, the one that has waited longest is next.
    const next = (): void => this.#waiting.shift()?.();
    if (this.#last === now) this.clock.immediate(next);
    else this.clock.setTimeout(next, this.#last - now);
  }
}

class MemoryTransport implements Transport {
  host: TransportHost | undefined;
  onChunk: ((chunk: Uint8Array) => void) | undefined;
  onLease: ((lease: Uint8Array) => void) | undefined;
  connected = true;

  constructor(
    private readonly network: MemoryNetwork,
    private readonly node: string,
  ) {}

  async start(host: TransportHost): Promise<{ maxFrame: number }> {
    if (host.node !== this.node) {
      throw new ActorSystemError(
        'invalid-argument',
        `the transport of ${this.node} cannot serve ${host.node}`,
      );
    }
    this.network.join(this.node, this);
    this.host = host;
    return { maxFrame: this.network.maxFrame };
  }

  send({ lane, node, bytes, firstAsk, lastAsk }: OutgoingFrame): boolean {
    if (this.host === undefined || !this.connected) return false;
    this.network.carry({ from: this.node, to: node, lane, bytes }, firstAsk, lastAsk);
    return true;
  }

  async openBulk(onChunk: (chunk: Uint8Array) => void): Promise<BulkChannel> {
    this.onChunk = onChunk;
    return {
      send: (to, chunk) => {
        if (this.host === undefined || !this.connected) return false;
        this.network.carry({ from: this.node, to, lane: 'bulk', bytes: new Uint8Array(chunk) }, 0, 0);
        return true;
      },
      close: async () => {
        if (this.onChunk === onChunk) this.onChunk = undefined;
      },
    };
  }

  async openInspection(onLease: (lease: Uint8Array) => void): Promise<InspectionChannel> {
    this.onLease = onLease;
    return {
      publish: (topic, bytes) => {
        if (this.host === undefined || !this.connected) return false;
        if (topic === 'records') this.network.show(bytes);
        return true;
      },
      close: async () => {
        this.onLease = undefined;
      },
    };
  }

  async close(): Promise<void> {
    this.host = undefined;
    this.network.leave(this.node, this);
  }

  crash(): void {
    this.host?.crash();
    this.host = undefined;
    this.onChunk = undefined;
    this.onLease = undefined;
  }

  setConnected(connected: boolean): void {
    if (this.connected === connected) return;
    this.connected = connected;
    this.host?.status({ type: connected ? 'reconnected' : 'disconnected', server: 'memory' });
  }
}

function pair(from: string, to: string): string {
  return `${from} ${to}`;
}
