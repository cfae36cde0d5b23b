import { once } from 'node:events';
import { createServer, connect as dial, type Server, type Socket } from 'node:net';
import { expect } from 'chai';
import { TcpProxy } from './tcp-proxy.js';

describe('TCP proxy', () => {
  let echo: Server;
  let proxy: TcpProxy;
  /** What arrived behind the proxy. */
  let arrived: string;
  const sockets: Socket[] = [];

  beforeEach(async () => {
    arrived = '';
    echo = createServer((socket) => {
      sockets.push(socket);
      socket.on('error', () => {});
      socket.on('data', (chunk) => {
        arrived += chunk;
        socket.write(chunk);
      });
    });
    echo.listen(0, '127.0.0.1');
    await once(echo, 'listening');
    const address = echo.address();
    if (address === null || typeof address === 'string') throw new Error('no port');
    proxy = await TcpProxy.start({ host: '127.0.0.1', port: address.port });
  });

  afterEach(async () => {
    await proxy.close();
    for (const socket of sockets.splice(0)) socket.destroy();
    echo.close();
  });

  it('carries bytes both ways, and the end of a connection', async () => {
    const client = new Client(proxy.port);
    client.send('hello');
    await client.received('hello');
    expect(proxy.connections).equals(1);
    client.socket.destroy();
    await until(() => proxy.connections === 0);
  });

  it('carries more than the other side has room for', async () => {
    const client = new Client(proxy.port);
    const much = 'x'.repeat(8 * 1024 * 1024);
    client.send(much);
    await until(() => client.text.length === much.length);
  });

  it('stalls, and lets everything flow on', async () => {
    const client = new Client(proxy.port);
    client.send('a');
    await client.received('a');
    proxy.stall();
    client.send('b');
    const late = new Client(proxy.port);
    late.send('c');
    await until(() => proxy.connections === 2);
    expect(arrived).equals('a');
    proxy.heal();
    await client.received('ab');
    await late.received('c');
  });

  it('swallows one direction, and breaks what lost bytes when it heals', async () => {
    const client = new Client(proxy.port);
    client.send('a');
    await client.received('a');
    proxy.blackHole('down');
    client.send('b');
    await until(() => proxy.swallowed === 1);
    expect(arrived).equals('ab');
    expect(client.text).equals('a');
    proxy.heal();
    await until(() => client.broken);
    const next = new Client(proxy.port);
    next.send('c');
    await next.received('c');
  });

  it('swallows what is sent', async () => {
    const client = new Client(proxy.port);
    client.send('a');
    await client.received('a');
    proxy.blackHole('up');
    client.send('b');
    const quiet = new Client(proxy.port);
    await until(() => proxy.swallowed === 1 && proxy.connections === 2);
    proxy.heal();
    await until(() => client.broken);
    expect(arrived).equals('a');
    quiet.send('c');
    await quiet.received('c');
  });

  it('resets connections, and refuses new ones until it heals', async () => {
    const client = new Client(proxy.port);
    client.send('a');
    await client.received('a');
    proxy.refuse();
    await until(() => client.broken);
    const refused = new Client(proxy.port);
    await until(() => refused.broken);
    proxy.heal();
    const next = new Client(proxy.port);
    next.send('b');
    await next.received('b');
  });

  it('breaks connections when nobody is behind it', async () => {
    echo.close();
    await until(() => !echo.listening);
    const client = new Client(proxy.port);
    await until(() => client.broken);
  });

  class Client {
    readonly socket: Socket;
    text = '';
    broken = false;

    constructor(port: number) {
      this.socket = dial(port, '127.0.0.1');
      sockets.push(this.socket);
      this.socket.on('error', () => {});
      this.socket.on('close', () => {
        this.broken = true;
      });
      this.socket.on('data', (chunk) => {
        this.text += chunk;
      });
    }

    send(text: string): void {
      this.socket.write(text);
    }

    received(text: string): Promise<void> {
      return until(() => this.text === text);
    }
  }
});

/** The spec's own limit ends what never comes. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}
