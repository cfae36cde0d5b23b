/** Troupe with its transactional keys in one region, or in two that different stores lead. */

import { connectTo } from '../cli/connection.js';
import type { Database } from '../index.js';
import type { BenchKey } from './driver.js';
import type { RunningTarget, StartTarget } from './target.js';
import { startLocalCluster, troupeTarget } from './target-troupe.js';

export const REGIONS = ['one', 'two'] as const;
export type Regions = (typeof REGIONS)[number];

const SPACE = { space: 'txn' } as const;

/** @param border the first key of the second region, where there are two */
export function startTroupeIn(regions: Regions, border: BenchKey): StartTarget {
  return async (directory): Promise<RunningTarget> => {
    const cluster = await startLocalCluster(directory);
    try {
      const db = await connectTo(cluster.settings);
      try {
        if (regions === 'two') await splitInTwo(db, border);
      } finally {
        await db.close();
      }
    } catch (error) {
      await cluster.stop();
      throw error;
    }
    return troupeTarget(cluster, regions === 'one' ? 'one region' : 'two regions led by two stores');
  };
}

async function splitInTwo(db: Database, border: BenchKey): Promise<void> {
  await db.cluster.splitRegion(border.bytes, SPACE);
  const { id, leader, peers } = await db.cluster.regionOf(border.bytes, SPACE);
  const other = peers.find(({ store }) => store !== leader)?.store;
  if (leader === null || other === undefined) throw new Error(`region ${id} has no leader, or one peer only`);
  await db.cluster.transferLeader(id, other);
}
