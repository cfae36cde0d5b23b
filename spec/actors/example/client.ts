import { ActorSystem, AskError, natsTransport } from '../../../actors/index.js';
import type { GuestbookEvent } from './guestbook.machine.js';

const system = await ActorSystem.start({
  cluster: 'demo',
  node: `client-${process.pid}`,
  role: 'client',
  transport: natsTransport({ servers: process.env.NATS_URL ?? 'nats://127.0.0.1:4222' }),
});

const book = system.ref<GuestbookEvent>('hall-1/guestbook');
const gone = new Promise<string>((resolve) => {
  book.watch(({ address, reason }) => resolve(`${address} is gone: ${reason}`));
});

book.tell({ type: 'sign', name: 'Grace' });
book.tell({ type: 'sign', name: '' }); // The guestbook fails, and is restarted as it was before this message.
book.tell({ type: 'sign', name: 'Edsger' }); // This one waits until it is back.
console.log((await book.ask({ type: 'read' }, { timeout: 2000 })).join(', '));

book.tell({ type: 'close' });
console.log(await gone);

try {
  await book.ask({ type: 'read' });
} catch (error) {
  if (error instanceof AskError) console.log(`no answer: ${error.code}`);
}
await system.close();
