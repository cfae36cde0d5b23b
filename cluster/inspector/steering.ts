/** What the page may do to the cluster: each action checked here, and done by the cluster's own requests. */

import { TroupeError } from '../errors.js';
import type { Database } from '../index.js';

export interface SteeringParts {
  readonly database: () => Promise<Database>;
  /** Kills a store's process; absent where the inspector does not run it. */
  readonly killStore?: (node: string) => void;
}

type Wish = Readonly<Record<string, unknown>>;

/** @returns a sentence about what was done @throws TroupeError */
export async function steer({ database, killStore }: SteeringParts, wish: Wish): Promise<string> {
  const id = (name: string): number => {
    const value = wish[name];
    if (typeof value === 'number' && Number.isSafeInteger(value) && value > 0) return value;
    throw new TroupeError('invalid-argument', `"${name}" is to be a number above 0.`);
  };
  const name = (field: string): string => {
    const value = wish[field];
    if (typeof value === 'string' && value.length > 0 && value.length <= 256) return value;
    throw new TroupeError('invalid-argument', `"${field}" is to be a text of 1 to 256 characters.`);
  };
  switch (wish.action) {
    case 'split': {
      const region = id('region');
      const { cluster } = await database();
      const parts =
        typeof wish.key === 'string' && wish.key !== ''
          ? await cluster.splitRegion(name('key'), { region, space: wish.space === 'txn' ? 'txn' : 'raw' })
          : await cluster.splitRegionInHalf(region);
      return `Region ${region} was split into ${parts.map((part) => part.id).join(' and ')}.`;
    }
    case 'merge': {
      const [source, target] = [id('region'), id('target')];
      await (await database()).cluster.mergeRegions(source, target);
      return `Region ${source} is part of region ${target} now.`;
    }
    case 'transfer': {
      const [region, store] = [id('region'), id('store')];
      await (await database()).cluster.transferLeader(region, store);
      return `Region ${region} is led by store ${store}.`;
    }
    case 'move': {
      const [region, from, to] = [id('region'), id('from'), id('to')];
      await (await database()).cluster.movePeer(region, from, to);
      return `The peer of region ${region} has moved from store ${from} to store ${to}.`;
    }
    case 'pause':
    case 'resume': {
      const scheduler = name('scheduler');
      const { placement } = (await database()).cluster;
      if (wish.action === 'resume') {
        await placement.resumeScheduler(scheduler);
        return `The scheduler ${scheduler} works again.`;
      }
      await placement.pauseScheduler(scheduler);
      return `The scheduler ${scheduler} rests until it is resumed.`;
    }
    case 'kill': {
      if (killStore === undefined)
        throw new TroupeError(
          'invalid-argument',
          'This inspector runs no stores: kill one from the page of `troupe up`.',
        );
      killStore(name('node'));
      return `${name('node')} was killed; it is started again.`;
    }
    default:
      throw new TroupeError('invalid-argument', 'There is no such action.');
  }
}
