/** What a data directory of `troupe up` remembers of its cluster: `cluster.json`. */

import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { TroupeError } from '../errors.js';

/** How many stores share the first region. */
export const FIRST_REPLICAS = 3;

/** How many nodes of a kind a cluster has. */
export interface ClusterSize {
  readonly stores: number;
  readonly schedulers: number;
}

interface Remembered extends ClusterSize {
  readonly cluster: string;
}

/**
 * Reconciles what is asked with what a data directory holds, and writes it down.
 * @param asked numbers that were given; what is absent is as it was, or three stores and one scheduler
 * @returns how many to start
 * @throws TroupeError `identity` when the directory belongs to another cluster, to one with more stores, or with another
 * number of schedulers
 */
export function claimDirectory(
  directory: string,
  cluster: string,
  asked: Partial<{ readonly [K in keyof ClusterSize]: number | undefined }>,
): ClusterSize {
  const file = join(directory, 'cluster.json');
  const known = existsSync(file) ? readRemembered(file) : undefined;
  if (known !== undefined && known.cluster !== cluster) {
    throw new TroupeError(
      'identity',
      `${directory} holds cluster "${known.cluster}", not "${cluster}": give --cluster ${known.cluster} or another --data`,
    );
  }
  const stores = asked.stores ?? known?.stores ?? FIRST_REPLICAS;
  if (known !== undefined && stores < known.stores) {
    throw new TroupeError(
      'identity',
      `${directory} holds ${known.stores} stores and cannot start with ${stores}: give --stores ${known.stores} or another --data`,
    );
  }
  const schedulers = asked.schedulers ?? known?.schedulers ?? 1;
  if (known !== undefined && schedulers !== known.schedulers) {
    throw new TroupeError(
      'identity',
      `${directory} was made with --schedulers ${known.schedulers}, which is fixed for the cluster's life: give that, or another --data`,
    );
  }
  writeFileSync(file, `${JSON.stringify({ cluster, stores, schedulers })}\n`);
  return { stores, schedulers };
}

function readRemembered(file: string): Remembered {
  try {
    const content: unknown = JSON.parse(readFileSync(file, 'utf8'));
    if (typeof content === 'object' && content !== null && 'cluster' in content && 'stores' in content) {
      const { cluster, stores } = content;
      // Older ones had one, and said nothing of it.
      const schedulers = 'schedulers' in content ? content.schedulers : 1;
      if (typeof cluster === 'string' && typeof stores === 'number' && typeof schedulers === 'number')
        return { cluster, stores, schedulers };
    }
  } catch {
    // Told below.
  }
  throw new TroupeError('identity', `${file} is damaged: it must say which cluster the directory holds`);
}
