import { once } from 'node:events';
import { createServer, connect as dial, type Server, type Socket } from 'node:net';

/** Seen from the one who connects to the proxy: `up` is what he sends, `down` what he is sent. */
export type Direction = 'up' | 'down' | 'both';

/** Both ends of one connection through the proxy. */
interface Link {
  readonly near: Socket;
  readonly far: Socket;
  /** Bytes of it were swallowed: what would come after them makes no sense to the other side. */
  holed: boolean;
}

/**
 * A TCP proxy whose network can go bad: a cable that delays, swallows, or breaks.
 *
 * What it swallowed is gone, so a connection that lost bytes is broken when the network heals, as one is whose segments
 * were not acknowledged for too long.
 */
export class TcpProxy {
  readonly #server: Server;
  readonly #target: { readonly host: string; readonly port: number };
  readonly #links = new Set<Link>();
  #stalled = false;
  #refusing = false;
  #holed: Direction | undefined;
  #swallowed = 0;

  private constructor(server: Server, target: { readonly host: string; readonly port: number }) {
    this.#server = server;
    this.#target = target;
    server.on('connection', (near) => this.#accept(near));
  }

  /** Listens on a free port of this machine. */
  static async start(target: { readonly host: string; readonly port: number }): Promise<TcpProxy> {
    const server = createServer();
    const proxy = new TcpProxy(server, target);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return proxy;
  }

  get port(): number {
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('the proxy does not listen');
    return address.port;
  }

  /** Connections through it. */
  get connections(): number {
    return this.#links.size;
  }

  /** Bytes that black holes have swallowed. */
  get swallowed(): number {
    return this.#swallowed;
  }

  /** Nothing flows, on new connections neither; nothing is lost: it flows on when the network heals. */
  stall(): void {
    this.#stalled = true;
    for (const { near, far } of this.#links) {
      near.pause();
      far.pause();
    }
  }

  /** What is sent in this direction is lost without a word. */
  blackHole(direction: Direction): void {
    this.#holed = direction;
  }

  /** Every connection breaks at once; new ones are possible. */
  reset(): void {
    for (const link of [...this.#links]) this.#break(link);
  }

  /** Every connection breaks at once, and new ones do until the network heals. */
  refuse(): void {
    this.#refusing = true;
    this.reset();
  }

  heal(): void {
    this.#stalled = false;
    this.#refusing = false;
    this.#holed = undefined;
    for (const link of [...this.#links]) {
      if (link.holed) this.#break(link);
      else {
        link.near.resume();
        link.far.resume();
      }
    }
  }

  /** Ends every connection, and listens no more. Idempotent. */
  async close(): Promise<void> {
    if (!this.#server.listening) return;
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.reset();
    await closed;
  }

  #accept(near: Socket): void {
    near.on('error', () => {});
    if (this.#refusing) {
      near.resetAndDestroy();
      return;
    }
    const far = dial(this.#target);
    far.on('error', () => {});
    const link: Link = { near, far, holed: false };
    this.#links.add(link);
    near.setNoDelay(true);
    far.setNoDelay(true);
    this.#carry(link, near, far, 'up');
    this.#carry(link, far, near, 'down');
    if (this.#stalled) {
      near.pause();
      far.pause();
    }
  }

  #carry(link: Link, from: Socket, to: Socket, direction: Direction): void {
    from.on('data', (chunk) => {
      if (this.#holed === direction || this.#holed === 'both') {
        link.holed = true;
        this.#swallowed += chunk.length;
        return;
      }
      // Whoever sends faster than the other side reads has to wait.
      if (!to.write(chunk)) from.pause();
    });
    to.on('drain', () => {
      if (!this.#stalled) from.resume();
    });
    from.on('close', () => {
      this.#links.delete(link);
      to.destroy();
    });
  }

  #break({ near, far }: Link): void {
    near.resetAndDestroy();
    far.resetAndDestroy();
  }
}
