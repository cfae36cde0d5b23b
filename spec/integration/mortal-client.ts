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
  /** Messages after which it dies; infinite for never. */
  readonly messages: number;
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

  /** @throws TroupeError as `connect` does */
  static async connect(options: MortalClientOptions): Promise<MortalClient> {
    const { servers, cluster, random, messages, died } = options;
    const life = new Life();
    const carrier = natsTransport({ servers });
    let left = Number.POSITIVE_INFINITY;
    const transport: Transport = {
      start: (host) => carrier.start(behind(host, life)),
      openBulk: (onChunk) => carrier.openBulk(onChunk),
      close: () => carrier.close(),
      send: (frame) => {
        if (life.over || left <= 0) return true;
        const carried = carrier.send(frame);
        // Not in the middle of its turn, and before anything else of it runs.
        if (--left <= 0) {
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
    left = messages;
    return new MortalClient(life, database);
  }

  get database(): Database {
    return this.#database;
  }

  get isDead(): boolean {
    return this.#life.over;
  }

  /** In good order, unless it is dead. */
  async close(): Promise<void> {
    if (!this.isDead) await this.#database.close();
  }
}

/** The process's clock, as long as its owner lives. */
class Life implements Clock {
  #over = false;

  get over(): boolean {
    return this.#over;
  }

  end(): void {
    this.#over = true;
  }

  now(): number {
    return realClock.now();
  }

  setTimeout(fn: () => void, ms: number): TimerHandle {
    return realClock.setTimeout(() => this.run(fn), ms);
  }

  clearTimeout(handle: TimerHandle): void {
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
