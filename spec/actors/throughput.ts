/**
 * Measures the framework alone: `node dist/spec/actors/throughput.js [seconds]`. Local tells in this process, then asks
 * between this process and another one over a nats-server of its own. Figures go to stdout as JSON.
 */

import { fork } from 'node:child_process';
import { once } from 'node:events';
import { setup } from 'xstate';
import {
  ActorSystem,
  type Codec,
  MemoryNetwork,
  natsTransport,
  type ReplyTo,
  realClock,
  seededRandom,
} from '../../actors/index.js';
import { TestNatsServer } from '../nats-server.js';

interface Read {
  type: 'read';
  key: Uint8Array;
  replyTo?: ReplyTo<Uint8Array>;
}

const codec: Codec<Read, Uint8Array> = {
  encode: ({ key }) => key,
  decode: (key) => ({ type: 'read', key }),
  encodeReply: (value) => value,
  decodeReply: (value) => value,
};

const value = new Uint8Array(256).fill(7);
const key = new Uint8Array(16).fill(3);

function store(counts: { handled: number }) {
  return setup({ types: { events: {} as Read } }).createMachine({
    on: {
      read: {
        actions: ({ event }) => {
          counts.handled++;
          event.replyTo?.send(value);
        },
      },
    },
  });
}

async function serve(url: string): Promise<void> {
  const system = await ActorSystem.start({
    cluster: 'bench',
    node: 'store-1',
    role: 'server',
    transport: natsTransport({ servers: url }),
  });
  system.registerCodec('read', codec);
  system.spawn(store({ handled: 0 }), { path: 'store' });
  process.send?.('ready');
  process.once('message', async () => {
    process.send?.({ metrics: system.metrics, cpu: process.cpuUsage() });
    await system.close();
    process.disconnect();
  });
}

async function localTells(seconds: number): Promise<number> {
  const network = new MemoryNetwork(realClock, seededRandom(1));
  const system = await ActorSystem.start({
    cluster: 'bench',
    node: 'store-1',
    role: 'server',
    transport: network.transport('store-1'),
  });
  const counts = { handled: 0 };
  const ref = system.spawn(store(counts), { path: 'store' });
  const start = performance.now();
  while (performance.now() - start < seconds * 1000) {
    for (let i = 0; i < 1000; i++) ref.tell({ type: 'read', key });
    await new Promise((resolve) => setImmediate(resolve));
  }
  await system.close();
  return Math.round((counts.handled / (performance.now() - start)) * 1000);
}

interface Asks {
  readonly perSecond: number;
  readonly p50: number;
  readonly p99: number;
}

async function remoteAsks(system: ActorSystem, inFlight: number, seconds: number): Promise<Asks> {
  const ref = system.ref<Read>('store-1/store');
  const latencies: number[] = [];
  const start = performance.now();
  const end = start + seconds * 1000;
  await Promise.all(
    Array.from({ length: inFlight }, async () => {
      for (let before = performance.now(); before < end; ) {
        await ref.ask({ type: 'read', key });
        const after = performance.now();
        latencies.push(after - before);
        before = after;
      }
    }),
  );
  latencies.sort((a, b) => a - b);
  const at = (part: number): number =>
    Math.round((latencies[Math.floor(part * latencies.length)] ?? 0) * 1000) / 1000;
  return { perSecond: Math.round(latencies.length / seconds), p50: at(0.5), p99: at(0.99) };
}

async function measure(seconds: number): Promise<void> {
  const local = await localTells(seconds);
  const server = await TestNatsServer.start();
  const child = fork(new URL(import.meta.url).pathname, ['serve', server.url], {
    execArgv:
      process.env.PROFILE_SERVER === undefined
        ? []
        : ['--cpu-prof', `--cpu-prof-dir=${process.env.PROFILE_SERVER}`],
  });
  await once(child, 'message');
  const system = await ActorSystem.start({
    cluster: 'bench',
    node: 'client-bench',
    role: 'client',
    transport: natsTransport({ servers: server.url }),
  });
  system.registerCodec('read', codec);
  const results: Record<string, Asks> = {};
  for (const inFlight of [1, 64, 256, 1024]) {
    await remoteAsks(system, inFlight, seconds / 4);
    results[inFlight] = await remoteAsks(system, inFlight, seconds);
  }
  const { metrics } = system;
  child.send('stop');
  const [{ cpu }] = await once(child, 'message');
  console.log(
    JSON.stringify(
      {
        localTellsPerSecond: local,
        asks: results,
        envelopesPerFrame: Math.round(metrics.envelopesSent / metrics.framesSent),
        microsecondsOfServerPerAsk: Math.round((10 * (cpu.user + cpu.system)) / metrics.asks) / 10,
      },
      undefined,
      2,
    ),
  );
  await system.close();
  await once(child, 'exit');
  await server.stop();
}

const [mode, url] = process.argv.slice(2);
if (mode === 'serve' && url !== undefined) await serve(url);
else await measure(Number(mode ?? 4));
