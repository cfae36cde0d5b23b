/** NATS JetStream key-value on three clustered servers: three replicas, file storage, the server's default settings. */

import { join } from 'node:path';
import { findProgram, freePort, type NatsServer, startNatsServer } from '../nats-server.js';
import { BUCKET } from './drivers.js';
import { type RunningTarget, TargetMissing } from './target.js';

const SERVERS = 3;
const START_DEADLINE_MS = 30_000;

export async function startJetStream(directory: string): Promise<RunningTarget> {
  if (findProgram('nats-server') === undefined) {
    throw new TargetMissing('nats-server is not on PATH (Debian: apt-get install nats-server)');
  }
  const routes = await Promise.all(Array.from({ length: SERVERS }, () => freePort()));
  const servers: NatsServer[] = [];
  const stop = async (): Promise<void> => {
    await Promise.all(servers.map((server) => server.stop('SIGKILL')));
  };
  try {
    for (const [index, route] of routes.entries()) {
      const name = `js-${index + 1}`;
      servers.push(
        await startNatsServer({
          args: [
            ...['--name', name, '--jetstream', '--store_dir', join(directory, name)],
            ...['--cluster_name', 'troupe-bench', '--cluster', `nats://127.0.0.1:${route}`],
            ...['--routes', routes.map((port) => `nats://127.0.0.1:${port}`).join(',')],
          ],
        }),
      );
    }
    const { leader, version } = await createBucket(servers.map(({ url }) => url));
    return {
      description: `NATS JetStream KV ${version}, ${SERVERS} servers, 3 replicas, file storage, client at the leader`,
      pids: () => servers.map(({ pid }) => pid),
      driver: { kind: 'jetstream', endpoints: [servers[Number(leader.split('-')[1]) - 1]?.url ?? ''] },
      // It syncs every two minutes, not per write, and does not count.
      fsyncs: async () => undefined,
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Creates the bucket, as soon as the servers have found each other, and tells which of them leads it. */
async function createBucket(urls: readonly string[]): Promise<{ leader: string; version: string }> {
  const [{ connect }, { Kvm }] = await Promise.all([
    import('@nats-io/transport-node'),
    import('@nats-io/kv'),
  ]);
  const connection = await connect({ servers: [...urls] });
  try {
    const deadline = Date.now() + START_DEADLINE_MS;
    for (;;) {
      try {
        const kv = await new Kvm(connection).create(BUCKET, { replicas: 3, history: 1 });
        const status = await kv.status();
        const leader = status.streamInfo.cluster?.leader;
        if (leader && status.streamInfo.cluster?.replicas?.every((replica) => replica.current)) {
          return { leader, version: connection.info?.version ?? '' };
        }
      } catch (error) {
        if (Date.now() > deadline) throw error;
      }
      if (Date.now() > deadline) throw new Error('JetStream found no leader for the bucket within 30 s');
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  } finally {
    await connection.close();
  }
}
