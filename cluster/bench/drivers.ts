/** Opens the clients of all systems under test. */

import type { Driver } from './driver.js';
import type { PairTarget } from './pairs.js';

/** The JetStream bucket of the benchmark. */
export const BUCKET = 'troupe-bench';

/** How the load generator reaches a system; plain data, for it crosses a process boundary. */
export type DriverConfig =
  | { readonly kind: 'troupe'; readonly servers: string; readonly cluster: string }
  | { readonly kind: 'etcd'; readonly endpoints: readonly string[] }
  | { readonly kind: 'jetstream'; readonly endpoints: readonly string[]; readonly leaderReads?: boolean };

export function openDriver(config: DriverConfig): Promise<Driver> {
  switch (config.kind) {
    case 'troupe':
      return openTroupe(config.servers, config.cluster);
    case 'etcd':
      return openEtcd(config.endpoints);
    case 'jetstream':
      return openJetStream(config.endpoints);
  }
}

/** Opens a system for transactions of two keys. */
export async function openPairs(config: DriverConfig): Promise<PairTarget> {
  switch (config.kind) {
    case 'troupe': {
      const [{ connect }, { TransactionalPairs }] = await Promise.all([
        import('../index.js'),
        import('./pairs.js'),
      ]);
      const { servers, cluster } = config;
      const db = await connect({ servers, cluster });
      return new TransactionalPairs(db, () => db.close());
    }
    case 'etcd': {
      const [{ EtcdClient }, { EtcdPairs }] = await Promise.all([
        import('./etcd-client.js'),
        import('./etcd-pairs.js'),
      ]);
      return new EtcdPairs(await EtcdClient.connect(config.endpoints));
    }
    case 'jetstream':
      throw new Error('JetStream has no transactions over two keys');
  }
}

async function openTroupe(servers: string, cluster: string): Promise<Driver> {
  const { connect } = await import('../index.js');
  const db = await connect({ servers, cluster });
  return {
    put: (key, value) => db.raw.put(key.bytes, value),
    get: (key) => db.raw.get(key.bytes),
    close: () => db.close(),
  };
}

async function openEtcd(endpoints: readonly string[]): Promise<Driver> {
  const { EtcdClient } = await import('./etcd-client.js');
  const client = await EtcdClient.connect(endpoints);
  return {
    put: (key, value) => client.put(key.bytes, value),
    get: (key) => client.get(key.bytes),
    close: async () => client.close(),
  };
}

async function openJetStream(endpoints: readonly string[]): Promise<Driver> {
  const [{ connect }, { Kvm }] = await Promise.all([
    import('@nats-io/transport-node'),
    import('@nats-io/kv'),
  ]);
  // No stack trace for each request, as in Troupe's own connection.
  const connection = await connect({ servers: [...endpoints], noAsyncTraces: true });
  const kv = await new Kvm(connection).open(BUCKET);
  return {
    put: (key, value) => kv.put(key.text, value),
    get: async (key) => (await kv.get(key.text))?.value,
    close: () => connection.close(),
  };
}
