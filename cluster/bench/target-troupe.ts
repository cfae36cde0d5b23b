/** Troupe as `troupe up` starts it: nats-server, one scheduler, three stores, fsync on. */

import { storeNames } from '../cli/cluster-file.js';
import { LocalCluster } from '../cli/local-cluster.js';
import { connectionSettings } from '../cli/settings.js';
import type { RunningTarget } from './target.js';

const STORES = 3;
const CLUSTER = 'bench';

/** Three stores in processes of their own, with a nats-server of their own. @param nodeArguments of each scheduler and store */
export function startLocalCluster(
  directory: string,
  nodeArguments: readonly string[] = [],
): Promise<LocalCluster> {
  return LocalCluster.start({
    settings: connectionSettings({ cluster: CLUSTER }, {}),
    stores: storeNames(STORES),
    directory,
    ownNats: true,
    nodeArguments,
    // Nothing but the load moves regions.
    haltScheduling: true,
    signal: new AbortController().signal,
    events: {
      starting() {},
      up() {},
      returned() {},
      line() {},
      repaired() {},
      gone() {},
      damaged: async (part, { message }) => {
        process.stderr.write(`${part}: ${message}\n`);
        return false;
      },
      died: (part, how) => {
        process.stderr.write(`${part} died: ${how}\n`);
      },
    },
  });
}

export async function startTroupe(directory: string): Promise<RunningTarget> {
  return troupeTarget(await startLocalCluster(directory), 'one region');
}

/** A cluster that runs, as a system under test. @param regions what is to be said of them */
export function troupeTarget(cluster: LocalCluster, regions: string): RunningTarget {
  return {
    description: `Troupe, ${STORES} stores, ${regions}, one nats-server, fsync before each acknowledgement`,
    pids: () => cluster.nodes().flatMap(({ pid }) => (pid === undefined ? [] : [pid])),
    driver: { kind: 'troupe', servers: cluster.natsUrl, cluster: CLUSTER },
    fsyncs: () => cluster.counted('syncs'),
    stop: () => cluster.stop(),
  };
}
