import {
  type Clock,
  natsTransport,
  type Random,
  realClock,
  type TimerHandle,
  type Transport,
  type TransportHost,
} from '../../actors/index.js';
import { connect, type Database } from '../../cluster/index.js';

export interface MortalClientOptions {
  readonly servers: string;
  readonly cluster: string;
  readonly random: Random;
  /** It is dead from now on. */
  readonly died: () => void;
}

/**
 * A client of this process that can be killed, as far as anybody else can see: in the middle of whatever it does its
 * messages end, and nothing of it runs any more. What awaits something of it waits for ever.
 */
export class MortalClient {
  readonly clock: Clock;
  readonly #life: Life;
  readonly #database: Database;

  private constructor(life: Life, database: Database) {
    this.clock = life;
    this.#life = life;
    this.#database = database;
  }

  /** It lives for ever unless `dieAfter` says otherwise. @throws TroupeError as `connect` does */
  static async connect(options: MortalClientOptions): Promise<MortalClient> {
    const { servers, cluster, random, died } = options;
    const life = new Life();
    const carrier = natsTransport({ servers });
    const transport: Transport = {
      start: (host) => carrier.start(behind(host, life)),
      openBulk: (onChunk) => carrier.openBulk(onChunk),
      close: () => carrier.close(),
      send: (frame) => {
        if (life.over || life.messages <= 0) return true;
        const carried = carrier.send(frame);
        // Not in the middle of its turn, and before anything else of it runs.
        if (--life.messages <= 0) {
          queueMicrotask(() => {
            life.end();
            void carrier.close();
            died();
          });
        }
        return carried;
      },
    };
    const database = await connect({ cluster, transport, clock: life, random });
    return new MortalClient(life, database);
  }

  get database(): Database {
    return this.#database;
  }

  get isDead(): boolean {
    return this.#life.over;
  }

  /** @param messages that it may still send; infinite for ever */
  dieAfter(messages: number): void {
    this.#life.messages = messages;
  }

  /** In good order, unless it is dead. */
  async close(): Promise<void> {
    if (!this.isDead) await this.#database.close();
  }
}

/** How long a client lives, and the process's clock for as long. */
class Life implements Clock {
  readonly #timers = new Set<TimerHandle>();
  #over = false;
  /** That may still be sent. */
  messages = Number.POSITIVE_INFINITY;

  get over(): boolean {
    return this.#over;
  }

  end(): void {
    this.#over = true;
    for (const timer of this.#timers) realClock.clearTimeout(timer);
    this.#timers.clear();
  }

  now(): number {
    return realClock.now();
  }

  setTimeout(fn: () => void, ms: number): TimerHandle {
    const timer = realClock.setTimeout(() => {
      this.#timers.delete(timer);
      this.run(fn);
    }, ms);
    if (this.#over) realClock.clearTimeout(timer);
    else this.#timers.add(timer);
    return timer;
  }

  clearTimeout(handle: TimerHandle): void {
    this.#timers.delete(handle);
    realClock.clearTimeout(handle);
  }

  immediate(fn: () => void): void {
    realClock.immediate(() => this.run(fn));
  }

  run(fn: () => void): void {
    if (!this.#over) fn();
  }
}

function behind(host: TransportHost, life: Life): TransportHost {
  return {
    ...host,
    receive: (lane, frame) => life.run(() => host.receive(lane, frame)),
    undeliverable: (node, first, last) => life.run(() => host.undeliverable(node, first, last)),
    status: (status) => life.run(() => host.status(status)),
  };
}
