import type { AnyActorLogic, AnyEventObject, EventFromLogic, InputFrom } from 'xstate';
import { checkName, type Lane, MAX_PATH_LENGTH, parseAddress, type Role, roleOf } from './addresses.js';
import { Asks } from './asks.js';
import { Cell, type CellHost } from './cell.js';
import { type Clock, realClock } from './clock.js';
import { type Codec, CodecRegistry, type WireEvent } from './codecs.js';
import { type DeadLetterReason, DeadLetters } from './dead-letters.js';
import { ActorSystemError, AskError } from './errors.js';
import { Inbound } from './inbound.js';
import type { ActorInfo, Inspector } from './inspection/events.js';
import { Inspection } from './inspection/inspection.js';
import { Inspectors } from './inspection/inspectors.js';
import { type Logger, silentLogger } from './logger.js';
import { DEFAULT_MAILBOX, type MailboxOptions } from './mailbox.js';
import { Metrics } from './metrics.js';
import { Peers } from './peers.js';
import type { Persistence } from './persistence.js';
import type { Random } from './random.js';
import { ActorRef } from './ref.js';
import { Registry } from './registry.js';
import { Router } from './router.js';
import { DEFAULT_SUPERVISION, type Supervision } from './supervision.js';
import type { ActorSystemOptions } from './system-options.js';
import type { BulkChannel, Transport, TransportStatus } from './transport.js';
import { Turns } from './turns.js';
import { DEFAULT_WATCH, DeathWatch } from './watch.js';

/** Frames that may arrive while the system starts. */
const MAX_BACKLOG = 1024;
/** Milliseconds between two looks for clients and watchers that are gone; a client is after `CLIENT_IDLE`. */
const HOUSEKEEPING_INTERVAL = 30_000;
const CLIENT_IDLE = 300_000;
/** After every other hook. */
const FLUSH_ORDER = Number.POSITIVE_INFINITY;

/** What an actor's `input` may be made from. */
export interface ActorContext<E extends AnyEventObject = AnyEventObject> {
  /** The actor itself. */
  readonly self: ActorRef<E>;
  /** Its node. */
  readonly system: ActorSystem;
}

/** Where an actor lives, how it begins, and what becomes of it when it fails. */
export interface SpawnOptions<L extends AnyActorLogic> {
  /** Below the node's name, for example `region/17/peer/42`. */
  readonly path: string;
  /** The logic's input, or how to make it: evaluated at the start and at every rebuild. */
  readonly input?: InputFrom<L> | ((context: ActorContext<EventFromLogic<L>>) => InputFrom<L>);
  /** 4096 messages, and the new one is rejected, where nothing is said. */
  readonly mailbox?: Partial<MailboxOptions>;
  /** Where nothing is said: restarted, ten times in a minute at most. */
  readonly supervision?: Partial<Supervision>;
  /** A local actor that this one stops with, and that its failures escalate to. */
  readonly parent?: ActorRef;
  /** `clients`: anyone may stop it; `servers` (the default): no client may. */
  readonly stoppableBy?: 'servers' | 'clients';
  /** Where its state outlives it; absent: nowhere. With one, `restart` and `rebuild` are the same. */
  readonly persistence?: Persistence;
}

/** One node: its actors, its run queue, and its way to the other nodes. */
export class ActorSystem {
  readonly cluster: string;
  /** The node's name. */
  readonly node: string;
  readonly role: Role;
  /** Grows with every start of the node. */
  readonly incarnation: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Counters, which anybody may read at any time. */
  readonly metrics = new Metrics();
  /** Messages that reached nobody. */
  readonly deadLetters: DeadLetters;
  /** What those see who attach over the network. */
  readonly inspection: Inspection;
  /** Resolves when the node cannot go on: its name is another's, its connection is closed, or a failure escalated. */
  readonly failed: Promise<ActorSystemError>;

  readonly #transport: Transport;
  readonly #turns: Turns;
  readonly #codecs: CodecRegistry;
  readonly #asks: Asks;
  readonly #peers: Peers;
  readonly #registry = new Registry();
  readonly #deathWatch: DeathWatch;
  readonly #router: Router;
  readonly #inbound: Inbound;
  readonly #inspectors = new Inspectors({
    cells: this.#registry.cells,
    changed: (inspector) => {
      this.#cellHost.inspector = inspector;
    },
  });
  readonly #cellHost: CellHost & { inspector: Inspector | undefined };
  #nextUid = 1;
  readonly #statusListeners = new Set<(status: TransportStatus) => void>();
  /** Frames that came before whoever started the system could register codecs and spawn actors. */
  #backlog: { readonly lane: Lane; readonly frame: Uint8Array }[] | undefined = [];
  #nextHousekeeping = 0;
  #open = true;
  #closing: Promise<void> | undefined;
  #fail: (error: ActorSystemError) => void = () => {};

  private constructor(options: ActorSystemOptions) {
    const { cluster, node, role, clock = realClock, transport } = options;
    checkNames(cluster, node, role);
    const { incarnation = Date.now() } = options;
    if (!Number.isSafeInteger(incarnation) || incarnation < 1) {
      throw new ActorSystemError(
        'invalid-argument',
        `an incarnation is a whole number from 1, not ${incarnation}`,
      );
    }
    this.cluster = cluster;
    this.node = node;
    this.role = role;
    this.incarnation = incarnation;
    this.clock = clock;
    this.random = options.random ?? Math.random;
    this.logger = options.logger ?? silentLogger;
    this.failed = new Promise((resolve) => {
      this.#fail = resolve;
    });
    this.deadLetters = new DeadLetters(options.keepDeadLetters ?? 100);
    this.#transport = transport;
    this.#codecs = new CodecRegistry(options.codecs ?? 'any');
    this.#asks = new Asks(clock);
    this.#turns = new Turns(clock, options.turnBudget ?? 8, this.metrics, (error) => this.#unexpected(error));
    this.#peers = new Peers({
      node,
      role,
      incarnation: this.incarnation,
      transport,
      metrics: this.metrics,
      waiting: (next) => (next ? this.#turns.request() : this.#turns.requestFlush()),
      dropped: (frame, envelopes) => this.#router.dropped(frame, envelopes),
    });
    this.#deathWatch = new DeathWatch(
      {
        node,
        clock,
        find: (path) => this.#registry.find(path),
        task: (fn) => this.#turns.task(fn),
        send: (to, write) => {
          const peer = this.#peers.get(to, clock.now());
          if (peer !== undefined) this.#peers.write(peer, write);
        },
        lastSeen: (of) => this.#peers.known(of)?.lastSeen ?? 0,
      },
      { ...DEFAULT_WATCH, ...options.watch },
    );
    const shared = {
      node,
      role,
      incarnation: this.incarnation,
      clock,
      codecs: this.#codecs,
      peers: this.#peers,
      asks: this.#asks,
      registry: this.#registry,
      deathWatch: this.#deathWatch,
      metrics: this.metrics,
      deadLetter: this.#deadLetter.bind(this),
    };
    this.#router = new Router({
      ...shared,
      development: options.development ?? false,
      isOpen: () => this.#open,
    });
    this.#inbound = new Inbound({ ...shared, replies: this.#router });
    this.#cellHost = this.#makeCellHost();
    this.inspection = new Inspection(
      {
        node,
        incarnation: this.incarnation,
        clock,
        logger: this.logger,
        actors: () => this.#actorInfos(),
        actor: (path) => {
          const cell = this.#registry.cells.get(path);
          return cell && { ...cell.info(), ref: cell.actor };
        },
        inspect: (inspector, depth) => this.#inspectors.add({ inspector, depth }),
        listen: (listener) => this.deadLetters.listen(listener),
        unshown: (told) => this.#inspectors.takeUnshown(told),
      },
      options.inspection || {},
    );
    this.#turns.onEnd(FLUSH_ORDER, () => this.#peers.flush());
  }

  /**
   * Starts a node.
   * @throws ActorSystemError what keeps it from its name or from the network
   */
  static async start(options: ActorSystemOptions): Promise<ActorSystem> {
    const system = new ActorSystem(options);
    const { maxFrame } = await system.#transport.start({
      cluster: system.cluster,
      node: system.node,
      role: system.role,
      incarnation: system.incarnation,
      clock: system.clock,
      random: system.random,
      logger: system.logger,
      receive: (lane, frame) => system.#receive(lane, frame),
      undeliverable: (node, first, last) => system.#router.undeliverable(node, first, last),
      status: (status) => system.#transportStatus(status),
      describe: () => system.describe(),
      crash: () => system.#crash(),
    });
    system.#peers.maxFrame = maxFrame;
    if (options.inspection) await system.inspection.open(system.#transport);
    // Whoever awaited the start runs before this.
    system.clock.immediate(() => system.#drainBacklog());
    return system;
  }

  /** Bytes that the encoded event or reply of one message may have. */
  get maxBody(): number {
    return this.#peers.maxBody;
  }

  /**
   * Starts an actor: in the next turn, not on the caller's stack.
   * @param logic any XState logic, usually a machine
   * @throws ActorSystemError `path-taken`, `invalid-argument` or `closed`
   */
  spawn<L extends AnyActorLogic>(logic: L, options: SpawnOptions<L>): ActorRef<EventFromLogic<L>> {
    const { path, input } = options;
    const mailbox = { ...DEFAULT_MAILBOX, ...options.mailbox };
    const parent = this.#checkSpawn(path, mailbox, options.parent);
    const self = new ActorRef<EventFromLogic<L>>(this.#router, this.node, path);
    const cell = new Cell(this.#cellHost, {
      path,
      address: self.address,
      uid: this.#nextUid++,
      logic,
      input:
        typeof input === 'function'
          ? () => (input as (context: ActorContext<EventFromLogic<L>>) => unknown)({ self, system: this })
          : () => input,
      mailbox,
      supervision: { ...DEFAULT_SUPERVISION, ...options.supervision },
      parent,
      stoppableByClients: options.stoppableBy === 'clients',
      persistence: options.persistence,
    });
    this.#registry.cells.set(path, cell);
    this.metrics.actorsSpawned++;
    this.#cellHost.inspector?.({ type: 'spawned', address: self.address, at: this.clock.now() });
    return self;
  }

  /**
   * A ref to any actor, here or elsewhere, whether it exists or not.
   * @param address `<node>/<path>`; the node alone can be watched
   * @throws ActorSystemError `invalid-argument`
   */
  ref<E extends AnyEventObject = AnyEventObject>(address: string): ActorRef<E> {
    const { node, path } = parseAddress(address);
    return new ActorRef<E>(this.#router, node, path);
  }

  /**
   * Puts an event into the mailbox of an actor of this node, as it is: for what comes from elsewhere and brings its own way
   * back. The object must not be changed afterwards.
   * @returns false when nobody lives at the path, or the mailbox refused it
   */
  deliver(path: string, event: AnyEventObject): boolean {
    return this.#registry.find(path)?.deliver(event) ?? false;
  }

  /**
   * Messages for addresses below `prefix` that have no actor go to the actor at `path`, with the address that was meant
   * in `event.address`. The longest prefix wins.
   */
  fallback(prefix: string, path: string): void {
    this.#registry.addFallback(prefix, path);
  }

  /**
   * Runs `hook` at the end of every turn, lower orders first, before the frames of the turn leave.
   * @returns how to remove it
   */
  onTurnEnd(order: number, hook: () => void): () => void {
    return this.#turns.onEnd(order, hook);
  }

  /** Lets the end-of-turn hooks run soon, for what happened outside of a turn (a disk that answered). */
  requestTurn(): void {
    this.#turns.request();
  }

  /** @throws ActorSystemError `invalid-argument` when the kind has a codec already */
  registerCodec<E extends WireEvent, R = unknown>(kind: string, codec: Codec<E, R>): void {
    this.#codecs.register(kind, codec);
  }

  /** The actors of this node at this moment. */
  actors(): ActorInfo[] {
    return [...this.#actorInfos()];
  }

  *#actorInfos(): Iterable<ActorInfo> {
    for (const cell of this.#registry.cells.values()) yield cell.info();
  }

  get actorCount(): number {
    return this.#registry.cells.size;
  }

  /** The actor at a path of this node; `undefined` where there is none. */
  actor(path: string): ActorInfo | undefined {
    return this.#registry.cells.get(path)?.info();
  }

  /** The node's counters at this moment, for tools. */
  describe(): object {
    const { cluster, node, role, incarnation, metrics, deadLetters } = this;
    return {
      cluster,
      node,
      role,
      incarnation,
      actors: this.#registry.cells.size,
      pendingAsks: this.#asks.size,
      metrics: { ...metrics },
      deadLetters: { ...deadLetters.counts },
    };
  }

  /** @returns how to stop listening */
  onStatus(listener: (status: TransportStatus) => void): () => void {
    this.#statusListeners.add(listener);
    return () => this.#statusListeners.delete(listener);
  }

  /**
   * Shows what happens inside the node's actors. It costs something while attached, nothing otherwise.
   * @returns how to stop
   */
  inspect(inspector: Inspector): () => void {
    return this.#inspectors.add({ inspector, depth: () => 1 });
  }

  /**
   * Opens the way for large things beside the messages; repeated calls replace the listener.
   * @throws ActorSystemError `unavailable`
   */
  openBulk(onChunk: (chunk: Uint8Array) => void): Promise<BulkChannel> {
    return this.#transport.openBulk(onChunk);
  }

  /** Stops every actor, fails the asks that wait here, hands over what was sent, and disconnects. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    // An actor may have asked for it: its turn ends first.
    await Promise.resolve();
    this.#open = false;
    for (const cell of [...this.#registry.cells.values()]) cell.stop('stopped');
    await this.inspection.close();
    this.#asks.failAll(({ path, kind, node }) => {
      return new AskError(
        'stopped',
        `${this.node} was closed before ${node}/${path} answered ${kind}`,
        'maybe',
      );
    });
    this.#turns.runNow();
    this.#halt();
    await this.#transport.close();
  }

  #crash(): void {
    this.#open = false;
    this.#closing = Promise.resolve();
    this.#halt();
  }

  #halt(): void {
    this.#turns.stop();
    this.#peers.close();
    this.#asks.stop();
    this.#deathWatch.stop();
  }

  /** Called by the transport, on whose stack nothing may be thrown. */
  #receive(lane: Lane, frame: Uint8Array): void {
    if (!this.#open) return;
    if (this.#backlog !== undefined) {
      if (this.#backlog.length < MAX_BACKLOG) this.#backlog.push({ lane, frame });
      return;
    }
    try {
      this.#inbound.receive(lane, frame);
      this.#housekeep();
    } catch (error) {
      this.#unexpected(error);
    }
  }

  #drainBacklog(): void {
    const backlog = this.#backlog ?? [];
    this.#backlog = undefined;
    for (const { lane, frame } of backlog) this.#receive(lane, frame);
  }

  /** Hangs on arriving frames, so that an idle node needs no timer. */
  #housekeep(): void {
    const now = this.clock.now();
    if (now < this.#nextHousekeeping) return;
    this.#nextHousekeeping = now + HOUSEKEEPING_INTERVAL;
    this.#peers.forget(now, CLIENT_IDLE, (node) => this.#deathWatch.watches(node));
    this.#deathWatch.forget(this.#registry.cells.values());
  }

  #transportStatus(status: TransportStatus): void {
    if (status.type === 'disconnected') this.metrics.disconnects++;
    if (status.type === 'reconnected') this.metrics.reconnects++;
    if (status.type === 'failed') this.#fail(status.error);
    try {
      for (const listener of this.#statusListeners) listener(status);
    } catch (error) {
      this.#unexpected(error);
    }
  }

  #makeCellHost(): CellHost & { inspector: Inspector | undefined } {
    return {
      clock: this.clock,
      random: this.random,
      logger: this.logger,
      inspector: undefined,
      shows: (path) => this.#inspectors.shows(path),
      unshown: this.#inspectors.unshown,
      ready: (cell) => this.#turns.ready(cell),
      deadLetter: (reason, cell, event, detail) => {
        const from = typeof event.sender === 'string' ? event.sender : this.node;
        this.#deadLetter(reason, from, cell.options.address, event.type, detail);
      },
      failed: () => {
        this.metrics.failures++;
      },
      restarted: () => {
        this.metrics.restarts++;
      },
      stopped: (cell, reason) => {
        this.metrics.actorsStopped++;
        if (this.#registry.find(cell.options.path) === cell) this.#registry.cells.delete(cell.options.path);
        this.#deathWatch.stopped(cell, reason);
      },
      escalate: (cell, error) => {
        const { parent, address } = cell.options;
        if (parent?.alive) {
          parent.enqueue(() => parent.failed(error));
          return;
        }
        this.#fail(
          new ActorSystemError('actor-failed', `${address} failed: ${String(error)}`, { cause: error }),
        );
      },
    };
  }

  #checkSpawn(path: string, { capacity }: MailboxOptions, parent: ActorRef | undefined): Cell | undefined {
    if (!this.#open) throw new ActorSystemError('closed', `${this.node} is closed`);
    if (path === '' || path.length > MAX_PATH_LENGTH) {
      throw new ActorSystemError('invalid-argument', `a path has 1 to ${MAX_PATH_LENGTH} characters`);
    }
    if (this.#registry.find(path) !== undefined) {
      throw new ActorSystemError('path-taken', `an actor already lives at ${this.node}/${path}`);
    }
    if (!(capacity >= 1)) {
      throw new ActorSystemError('invalid-argument', `a mailbox holds at least 1 message, not ${capacity}`);
    }
    const cell = parent?.node === this.node ? this.#registry.find(parent.path) : undefined;
    if (parent !== undefined && cell === undefined) {
      throw new ActorSystemError('invalid-argument', `${parent.address} is no actor of this node`);
    }
    return cell;
  }

  #deadLetter(
    reason: DeadLetterReason,
    from: string,
    to: string,
    kind: string,
    detail: string,
    count = 1,
  ): void {
    this.deadLetters.add({ reason, from, to, kind, detail, at: this.clock.now() }, count);
  }

  /** Something threw that has no actor to blame: a hook, a listener, or this framework. */
  #unexpected(error: unknown): void {
    this.logger.error({ node: this.node, err: error }, 'a turn of the actor system met an unexpected error');
    this.#fail(
      new ActorSystemError('actor-failed', `unexpected error on ${this.node}: ${String(error)}`, {
        cause: error,
      }),
    );
  }
}

function checkNames(cluster: string, node: string, role: Role): void {
  checkName('cluster', cluster);
  checkName('node', node);
  if (roleOf(node) === role) return;
  throw new ActorSystemError(
    'invalid-argument',
    `${node} cannot name a ${role}: names of clients, and only those, begin with client-`,
  );
}
