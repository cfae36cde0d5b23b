import { ActorSystem, natsTransport } from '../../../actors/index.js';
import { guestbook } from './guestbook.machine.js';

const system = await ActorSystem.start({
  cluster: 'demo',
  node: 'hall-1',
  role: 'server',
  transport: natsTransport({ servers: process.env.NATS_URL ?? 'nats://127.0.0.1:4222' }),
});
process.once('SIGTERM', () => system.close());
process.once('SIGINT', () => system.close());

const book = system.spawn(guestbook, {
  path: 'guestbook',
  input: { owner: 'Ada' },
  mailbox: { capacity: 1000, overflow: 'reject' },
  supervision: { onFailure: 'restart', minBackoff: 50, limit: 5, window: 60_000, afterLimit: 'stop' },
});

console.log(`${book.address} is open`);
book.watch(({ reason }) => {
  console.log(`the guestbook is gone: ${reason}`);
  console.log(`it failed ${system.metrics.failures} time and was restarted ${system.metrics.restarts} time`);
});
