import {
  type Logger,
  type MemoryNetwork,
  type Random,
  seededRandom,
  type Transport,
  type VirtualClock,
} from '../../actors/index.js';
import { TroupeError } from '../../cluster/errors.js';
import { type Engine, EngineFailedError, SimulatedDisk } from '../../storage/index.js';
import { MachineClock, pausable } from './machine-clock.js';
import type { Trace } from './trace.js';

/** What runs on a machine. */
export interface Server {
  /** Resolves when it cannot go on. */
  readonly failed: Promise<Error>;
  close(): Promise<void>;
}

/** What a process is started with. */
export interface ProcessParts {
  readonly engine: Engine;
  readonly transport: Transport;
  readonly clock: MachineClock;
  readonly logger: Logger;
  readonly incarnation: number;
}

export interface MachineParts<N extends Server> {
  readonly name: string;
  readonly world: VirtualClock;
  readonly network: MemoryNetwork;
  readonly random: Random;
  readonly trace: Trace;
  /** Milliseconds of its clock in one of the world's. */
  readonly rate: number;
  /** Starts the product's process. */
  readonly boot: (process: ProcessParts) => Promise<N>;
  /** Sees the disk before a process opens it. Reads take no time. */
  readonly found?: (engine: Engine) => Promise<void>;
  /** What stands between the process and its disk. */
  readonly before?: (engine: Engine) => Engine;
  /** The process ended by itself, because its disk refused or nobody answered: somebody should start it again. */
  readonly ended: (machine: SimulatedMachine<Server>) => void;
  /** Something that must never happen did. */
  readonly broken: (sentence: string) => void;
}

/** Virtual milliseconds in which a process that is asked to stop must have stopped, on a disk of whatever speed. */
const STOP_LIMIT_MS = 30_000;
/** A draw that leaves a simulated disk as it is. */
const KEEPS_EVERYTHING = 1 - 2 ** -32;

/** A machine with a disk and a clock of its own, on which one process after the other runs. */
export class SimulatedMachine<N extends Server> {
  readonly name: string;
  readonly disk: SimulatedDisk;
  /** Milliseconds of a disk call: least and most. */
  diskLatency: readonly [least: number, most: number] = [0, 0];
  /** `undefined` while it is down, or on its way up or down. */
  node: N | undefined;
  /** Number of starts. */
  life = 0;
  #phase: 'down' | 'starting' | 'up' | 'stopping' = 'down';
  #clock: MachineClock;
  #keepsAll = false;
  #takesNoTime = false;
  readonly #parts: MachineParts<N>;

  constructor(parts: MachineParts<N>) {
    const { name, world, random, rate } = parts;
    this.#parts = parts;
    this.name = name;
    this.#clock = new MachineClock(world, rate);
    const chance = seededRandom(random() * 2 ** 32);
    this.disk = new SimulatedDisk({
      random: () => (this.#keepsAll ? KEEPS_EVERYTHING : chance()),
      clock: {
        setTimeout: (done, ms) => {
          const clock = this.#clock;
          world.setTimeout(() => clock.run(done), ms);
        },
      },
      latency: (call) => {
        if (this.#takesNoTime) return 0;
        const [least, most] = this.diskLatency;
        const drawn = least + (most - least) * chance();
        return call === 'sync' ? drawn : drawn / 10;
      },
    });
  }

  get title(): string {
    return `${this.name}.${this.life}`;
  }

  get isDown(): boolean {
    return this.#phase === 'down';
  }

  get isUp(): boolean {
    return this.#phase === 'up';
  }

  get paused(): boolean {
    return this.#clock.paused;
  }

  /** What the process's clock shows. */
  now(): number {
    return this.#clock.now();
  }

  /** Starts a process; `node` is there when it serves. */
  start(): void {
    if (this.#phase !== 'down') return;
    const { world, rate, trace } = this.#parts;
    this.life++;
    this.#phase = 'starting';
    trace.event(`start ${this.title}`);
    const clock = new MachineClock(world, rate);
    this.#clock = clock;
    this.#boot(clock).then(
      (node) => {
        if (clock.killed) return;
        this.#phase = 'up';
        this.node = node;
        trace.event(`${this.title} is up`);
        void node.failed.then((error) => this.#failed(clock, error));
      },
      (error: unknown) => this.#failed(clock, error),
    );
  }

  async #boot(clock: MachineClock): Promise<N> {
    const { name, network, found, before, boot } = this.#parts;
    const disk = await this.disk.open();
    this.#takesNoTime = true;
    await found?.(disk);
    this.#takesNoTime = false;
    return boot({
      engine: before?.(disk) ?? disk,
      transport: pausable(network.transport(name), clock),
      clock,
      logger: this.#logger(),
      incarnation: this.life,
    });
  }

  /**
   * The power goes: the process dies, the disk keeps what was synced and perhaps some of the rest.
   * @returns how many batches were lost
   */
  losePower(): number {
    this.#parts.trace.event(`power loss ${this.title}`);
    return this.#end();
  }

  /** The process is killed; the operating system still writes what it was given. */
  kill(): void {
    this.#parts.trace.event(`kill ${this.title}`);
    this.#keepsAll = true;
    this.#end();
    this.#keepsAll = false;
  }

  pause(): void {
    if (this.#phase === 'down' || this.paused) return;
    this.#parts.trace.event(`pause ${this.title}`);
    this.#clock.pause();
  }

  resume(): void {
    if (!this.paused) return;
    this.#parts.trace.event(`resume ${this.title}`);
    this.#clock.resume();
  }

  /** Ends the process in good order. */
  async stop(): Promise<void> {
    const { node } = this;
    if (node === undefined) return;
    const { world, trace, broken } = this.#parts;
    const clock = this.#clock;
    trace.event(`stop ${this.title}`);
    this.node = undefined;
    this.#phase = 'stopping';
    const limit = world.setTimeout(() => {
      if (clock.paused || clock.killed) return;
      broken(`${this.title} did not stop within ${STOP_LIMIT_MS} ms of being asked`);
    }, STOP_LIMIT_MS);
    try {
      await node.close();
    } catch (error) {
      if (!diskRefused(error)) broken(`${this.title} failed when it was asked to stop: ${String(error)}`);
    }
    world.clearTimeout(limit);
    if (clock.killed) return;
    this.#end();
  }

  /** Looks at the disk of a machine that is down. */
  async inspect(look: (engine: Engine) => Promise<void>): Promise<void> {
    this.#takesNoTime = true;
    const engine = await this.disk.open();
    await look(engine);
    await engine.close();
    this.#takesNoTime = false;
  }

  #end(): number {
    this.#clock.kill();
    this.node = undefined;
    this.#phase = 'down';
    this.#parts.network.crash(this.name);
    return this.disk.crash();
  }

  #failed(clock: MachineClock, error: unknown): void {
    if (clock.killed || this.#phase === 'stopping') return;
    const { trace, broken, ended } = this.#parts;
    const expected = diskRefused(error) || (this.#phase === 'starting' && isTransient(error));
    if (!expected)
      broken(`${this.title} ${this.#phase === 'starting' ? 'cannot start' : 'failed'}: ${String(error)}`);
    trace.event(`${this.title} ends: ${String(error)}`);
    this.#end();
    ended(this);
  }

  #logger(): Logger {
    const { trace, broken } = this.#parts;
    const { title } = this;
    const say = (level: string) => (fields: object, message?: string) => {
      if (trace.verbose) trace.say(`${title} ${level}: ${message} ${brief(fields)}`);
    };
    const logger: Logger = {
      debug: say('debug'),
      info: say('info'),
      warn: say('warn'),
      error: (fields, message) => {
        say('error')(fields, message);
        const { err } = fields as { readonly err?: unknown };
        if (!diskRefused(err)) broken(`${title}: ${message} ${brief(fields)}`);
      },
      child: () => logger,
    };
    return logger;
  }
}

function diskRefused(error: unknown): boolean {
  for (let one = error; one instanceof Error; one = one.cause)
    if (one instanceof EngineFailedError) return true;
  return false;
}

/**
 * Nobody answered; or the last life registered, and lost its power before its identity was on disk: for a while the scheduler
 * takes this one for another node of the same name.
 */
function isTransient(error: unknown): boolean {
  if (!(error instanceof TroupeError)) return false;
  return error.code === 'unavailable' || error.message.includes('in use by a live node');
}

function brief(fields: object): string {
  return Object.entries(fields)
    .map(
      ([name, value]) => `${name}=${value instanceof Error ? (value.stack ?? value.message) : String(value)}`,
    )
    .join(' ');
}
