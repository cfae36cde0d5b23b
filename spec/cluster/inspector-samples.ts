import type { InspectionBatch, InspectionRecord } from '../../actors/index.js';
import type { RaftItem, RegionItem, StoreItem } from '../../cluster/inspection/items.js';

/** A region between two keys that count up. */
export function regionItem(id: number, more: Partial<RegionItem> = {}): RegionItem {
  const key = (n: number): string => `r${String(n).padStart(8, '0')}`;
  return {
    id,
    start: id === 1 ? '' : key(id),
    end: key(id + 1),
    startHex: id === 1 ? '' : Buffer.from(key(id)).toString('hex'),
    epoch: '1/1',
    peers: [0, 1, 2].map((n) => ({
      id: id * 10 + n,
      store: ((id + n) % 5) + 1,
      role: 'voter',
      pending: false,
      down: false,
    })),
    leader: (id % 5) + 1,
    term: 6,
    size: 1000 * id,
    keys: id,
    written: 0,
    read: 0,
    state: { replication: 'whole', leadership: 'led', size: 'fit', load: 'calm', operator: 'none' },
    ...more,
  };
}

export function storeItem(id: number): StoreItem {
  return { id, node: `store-${id}`, pid: id, state: 'up', capacity: 1e12, used: 1e9, regions: 3, leaders: 1 };
}

export function raftItem(region: number, more: Partial<RaftItem> = {}): RaftItem {
  return {
    ...{ region, peer: region * 10, role: 'follower', term: 6, lead: 0 },
    ...{ first: 6, last: 9, commit: 8, applied: 8, asleep: false },
    ...more,
  };
}

/** Batches of one node, numbered as it would. */
export class Teller {
  #sequence = 0;

  constructor(
    readonly node: string,
    private readonly incarnation = 1,
  ) {}

  batch(
    records: readonly InspectionRecord[],
    wall = 1_000,
    leftOut: InspectionBatch['leftOut'] = {},
  ): InspectionBatch {
    const { node, incarnation } = this;
    return { version: 1, node, incarnation, sequence: ++this.#sequence, at: 0, wall, records, leftOut };
  }

  state(topic: string, items: readonly unknown[], gone: readonly unknown[] = []): InspectionBatch {
    return this.batch([{ kind: 'state', at: 0, topic, items, gone }]);
  }
}
