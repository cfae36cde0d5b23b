/**
 * `npm run bench:inspect` starts this as a process of its own: the inspector, and a page that is open in it. What a browser would
 * do with what it is sent is not measured.
 */

import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import { connectNats, natsObserver, silentLogger } from '../../actors/index.js';
import { Inspector } from '../inspector/server.js';

/** What the benchmark says: open the page, close it, or tell how many records nodes told in the last second. */
export type WatcherOrder = 'open' | 'close' | 'rate';
/** What it answers, to each order. */
export interface WatcherAnswer {
  readonly records: number;
}

const [servers = '', cluster = ''] = process.argv.slice(2);
const connection = await connectNats({ servers }, 'bench-inspector', silentLogger, () => false);
const inspector = await Inspector.start({
  cluster,
  observe: natsObserver(connection, cluster),
  database: () => Promise.reject(new Error('nothing is steered here')),
  port: 0,
  lingerMs: 0,
});
let page: IncomingMessage | undefined;

process.on('message', (order: WatcherOrder) => {
  void obey(order).then((answer) => process.send?.(answer));
});
process.once('disconnect', () => process.exit());
process.send?.({ records: 0 } satisfies WatcherAnswer);

async function obey(order: WatcherOrder): Promise<WatcherAnswer> {
  switch (order) {
    case 'open':
      page = await fetched('api/stream?view=cluster');
      page.on('error', () => {}).resume();
      return { records: 0 };
    case 'close':
      page?.destroy();
      page = undefined;
      return { records: 0 };
    case 'rate': {
      const chunks: Uint8Array[] = [];
      for await (const chunk of await fetched('api/view?view=letters')) chunks.push(chunk);
      const { summary } = JSON.parse(Buffer.concat(chunks).toString());
      return { records: Number(summary.perSecond) };
    }
  }
}

async function fetched(path: string): Promise<IncomingMessage> {
  const [response] = await once(get(new URL(path, inspector.url)), 'response');
  return response;
}
