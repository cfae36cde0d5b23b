/** `troupe inspect`: the live page of a cluster; `troupe up` has one of its own. */

import type { Command } from 'commander';
import { ActorSystemError, connectNats, natsObserver, silentLogger } from '../../actors/index.js';
import { clusterError, TroupeError } from '../errors.js';
import type { Database } from '../index.js';
import type { Inspector } from '../inspector/server.js';
import { connectTo, natsOptions } from './connection.js';
import { type ConnectionSettings, connectionSettings, parseCount, withConnection } from './settings.js';
import { endSoon, print, say } from './terminal.js';

export interface InspectorSettings {
  readonly port: number;
  readonly host: string;
  readonly stately?: boolean;
  readonly killStore?: (node: string) => void;
}

interface InspectFlags extends Readonly<Record<string, unknown>> {
  readonly port: string;
  readonly host: string;
  readonly stately?: boolean;
}

export function addInspectCommand(program: Command): void {
  withConnection(
    program
      .command('inspect')
      .summary('watch and steer a cluster on a web page')
      .description(
        'Serves the inspector: the cluster, its actors, Raft groups, transactions, dead letters and hot ranges, live. Nodes tell\nonly while a page is open. It listens on this machine alone; on another address it needs a token, in the variable\nTROUPE_INSPECT_TOKEN, and should stand behind TLS.\n\nExamples:\n  troupe inspect\n  troupe inspect --port 8080 --cluster prod --nats nats://10.0.0.5:4222\n  TROUPE_INSPECT_TOKEN=$(openssl rand -hex 16) troupe inspect --host 0.0.0.0',
      )
      .option('-p, --port <port>', 'port of the page', '7070')
      .option('--host <address>', 'address to listen on', '127.0.0.1')
      .option(
        '--stately',
        'nodes also tell in the form of Stately’s viewer, on troupe.CLUSTER.events.*.stately',
      ),
  ).action(inspect);
}

async function inspect(flags: InspectFlags): Promise<void> {
  const settings = connectionSettings(flags);
  const port = parseCount('--port', flags.port, 0, 65_535);
  const { host, stately = false } = flags;
  const inspector = await startInspector(settings, { port, host, stately });
  const { token } = inspector;
  print(
    `The inspector of cluster "${settings.cluster}" is on ${inspector.url}${token ? '?token=TOKEN' : ''}`,
  );
  if (token) say('TOKEN is what TROUPE_INSPECT_TOKEN holds; the browser keeps it in a cookie then.');
  say('Ctrl-C stops it.');
  await new Promise<void>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => resolve());
  });
  await inspector.close();
  endSoon();
}

/** @returns whether a server is reached at the moment */
function watchConnection(connection: Awaited<ReturnType<typeof connectNats>>): () => boolean {
  let connected = true;
  void (async () => {
    for await (const { type } of connection.status()) {
      if (type === 'disconnect') connected = false;
      else if (type === 'reconnect') connected = true;
    }
  })();
  return () => connected;
}

/** The page of a cluster, with a connection of its own. @throws TroupeError */
export async function startInspector(
  settings: ConnectionSettings,
  { port, host, stately = false, killStore }: InspectorSettings,
): Promise<{ readonly url: string; readonly token: boolean; close(): Promise<void> }> {
  const { Inspector: server } = await import('../inspector/server.js');
  const connection = await connectNats(
    natsOptions(settings),
    'troupe-inspect',
    silentLogger,
    () => false,
  ).catch((error: unknown) => {
    throw error instanceof ActorSystemError ? clusterError(error) : error;
  });
  let database: Promise<Database> | undefined;
  const token = process.env.TROUPE_INSPECT_TOKEN;
  let inspector: Inspector;
  try {
    inspector = await server.start({
      cluster: settings.cluster,
      observe: natsObserver(connection, settings.cluster),
      database: () => {
        database ??= connectTo(settings).catch((error: unknown) => {
          database = undefined;
          throw error;
        });
        return database;
      },
      connected: watchConnection(connection),
      port,
      host,
      stately,
      ...(token === undefined || token === '' ? {} : { token }),
      ...(killStore === undefined ? {} : { killStore }),
    });
  } catch (error) {
    await connection.close();
    throw error instanceof Error ? error : new TroupeError('failed', String(error));
  }
  return {
    url: inspector.url,
    token: token !== undefined && token !== '',
    close: async () => {
      await inspector.close();
      await (await database?.catch(() => undefined))?.close();
      await connection.close();
    },
  };
}
