import { expect } from 'chai';
import type { Clock } from '../../actors/index.js';
import {
  type ClusterOptions,
  ELECTION_TIMEOUT_MS,
  ON_REAL_GROUND,
  type TestCluster,
  withCluster,
} from '../conformance/tinykv/cluster.js';
import { mustAgree, mustHaveShortLogs } from '../conformance/tinykv/stored-regions.js';
import { LONG } from '../extent.js';
import { skip } from '../skip.js';
import { Workload } from './workloads.js';

const RUN_MS = 5_000;
/** Entries of a log above which it is cut. */
const LOG_LIMIT = 20;
const CLIENTS = 3;
const RECOVERY_MS = 20 * 2 * ELECTION_TIMEOUT_MS;

describe('linearizability of a whole cluster on virtual time', () => {
  before(function () {
    if (ON_REAL_GROUND) skip(this, 'this is about virtual time');
  });

  it('holds when nothing goes wrong', () => check(1, async (cluster) => cluster.sleep(RUN_MS)));

  for (const seed of LONG ? [2, 3, 4] : [2, 3]) {
    it(`holds while partitions come and go (seed ${seed})`, () =>
      check(seed, async (cluster) => {
        for (const end = cluster.now() + RUN_MS; cluster.now() < end; ) {
          cluster.links.heal();
          cluster.links.partition(
            cluster.stores.filter(() => cluster.random() < 0.5).map(({ name }) => name),
          );
          await cluster.sleep(ELECTION_TIMEOUT_MS * (0.5 + 3 * cluster.random()));
        }
      }));
  }

  for (const seed of LONG ? [8, 9] : [8]) {
    it(`holds while logs are cut and those who fell behind get snapshots (seed ${seed})`, () =>
      check(
        seed,
        async (cluster) => {
          let snapshots = 0;
          for (let i = 0; i < 5; i++) {
            const aside = cluster.stores[(seed + i) % cluster.stores.length];
            if (aside === undefined) continue;
            cluster.links.partition([aside.name]);
            await cluster.sleep(3 * ELECTION_TIMEOUT_MS);
            const logs = await Promise.all(cluster.stores.map((store) => cluster.log(store)));
            const { applied } = await cluster.log(aside);
            if (logs.some(({ truncated }) => truncated > applied)) snapshots++;
            cluster.links.heal();
            await cluster.sleep(2 * ELECTION_TIMEOUT_MS * cluster.random());
          }
          expect(snapshots, 'stores that the log alone could not bring up').above(0);
          await mustHaveShortLogs(cluster, 4 * LOG_LIMIT);
        },
        { logLimit: LOG_LIMIT },
      ));
  }

  it('holds while messages are lost', () =>
    check(5, async (cluster) => {
      cluster.links.drop(0.2);
      await cluster.sleep(RUN_MS);
    }));

  for (const seed of LONG ? [6, 7] : [6]) {
    it(`holds over power losses of all stores, and partitions (seed ${seed})`, () =>
      check(seed, async (cluster) => {
        for (let i = 0; i < 5; i++) {
          cluster.links.partition([cluster.stores[i]?.name ?? '']);
          await cluster.sleep(2 * ELECTION_TIMEOUT_MS * cluster.random());
          await cluster.stopStores();
          cluster.links.heal();
          await cluster.sleep(ELECTION_TIMEOUT_MS * cluster.random());
          await cluster.startStores();
          await cluster.sleep(4 * ELECTION_TIMEOUT_MS * cluster.random());
        }
      }));
  }
});

/** Runs the workloads while `trouble` is made, then heals, waits for progress, and judges what the clients were told. */
async function check(
  seed: number,
  trouble: (cluster: TestCluster) => Promise<void>,
  options: ClusterOptions = {},
): Promise<void> {
  await withCluster(
    seed,
    async (cluster) => {
      const databases = [];
      for (let i = 0; i < CLIENTS; i++) databases.push(await cluster.connect());
      let acknowledged = 0;
      const workload = new Workload({
        clock: clockOf(cluster),
        random: cluster.random,
        databases,
        clients: 2 * CLIENTS,
        timeout: 1_500,
        pause: 60,
        grace: 500,
        written: () => acknowledged++,
      });
      workload.start();
      await trouble(cluster);
      cluster.links.heal();
      const before = acknowledged;
      const deadline = cluster.now() + RECOVERY_MS;
      while (acknowledged === before && cluster.now() < deadline) await cluster.sleep(10);
      expect(acknowledged, 'writes after everything was healed').above(before);
      await workload.stop();
      await workload.readEverything(RECOVERY_MS);
      const { violations, evidence } = workload.verdict();
      expect(violations, evidence).deep.equals([]);
      await mustAgree(cluster);
      expect(workload.history.counts.returned).above(100);
    },
    options,
  );
}

/** The cluster's time, as a clock. */
function clockOf(cluster: TestCluster): Clock {
  return {
    now: () => cluster.now(),
    setTimeout: (fn, ms) => {
      const timer = { fn };
      void cluster.sleep(ms).then(() => timer.fn());
      return timer;
    },
    clearTimeout: (handle) => {
      (handle as { fn: () => void }).fn = () => {};
    },
    immediate: (fn) => void cluster.sleep(0).then(fn),
  };
}
