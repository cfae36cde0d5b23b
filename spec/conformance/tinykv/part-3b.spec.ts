import { expect } from 'chai';
import { hasNatsServer } from '../../nats-server.js';
import { skip } from '../../skip.js';
import { ON_REAL_GROUND } from './cluster.js';
import { genericTest, type Trouble } from './generic-test.js';

/** Puts and scans of all clients together, changes of members, and regions that each test must come to at least. */
const ENOUGH = { puts: 100, scans: 100, changes: 3, regions: 5 };
const split = { maxBytes: 300, splitBytes: 200 };

const generic: Readonly<Record<string, Trouble>> = {
  TestConfChangeRecover3B: { clients: 1, crash: true, confChange: true },
  TestConfChangeRecoverManyClients3B: { clients: 20, crash: true, confChange: true },
  TestConfChangeUnreliable3B: { clients: 5, unreliable: true, confChange: true },
  TestConfChangeUnreliableRecover3B: { clients: 5, unreliable: true, crash: true, confChange: true },
  TestConfChangeSnapshotUnreliableRecover3B: {
    clients: 5,
    unreliable: true,
    crash: true,
    logLimit: 100,
    confChange: true,
  },
  TestConfChangeSnapshotUnreliableRecoverConcurrentPartition3B: {
    clients: 5,
    unreliable: true,
    partitions: true,
    crash: true,
    logLimit: 100,
    confChange: true,
  },
  TestSplitRecover3B: { clients: 1, crash: true, split },
  TestSplitRecoverManyClients3B: { clients: 20, crash: true, split },
  TestSplitUnreliable3B: { clients: 5, unreliable: true, split },
  TestSplitUnreliableRecover3B: { clients: 5, unreliable: true, crash: true, split },
  TestSplitConfChangeSnapshotUnreliableRecover3B: {
    clients: 5,
    unreliable: true,
    crash: true,
    logLimit: 100,
    confChange: true,
    split,
  },
  TestSplitConfChangeSnapshotUnreliableRecoverConcurrentPartition3B: {
    clients: 5,
    unreliable: true,
    partitions: true,
    crash: true,
    logLimit: 100,
    confChange: true,
    split,
  },
};

const ground = ON_REAL_GROUND
  ? 'over a nats-server and RocksDB, where stores are stopped and links are cut in their transport'
  : 'on virtual time, where stores lose their power with what they had not synced';

describe(`TinyKV part 3B, regions that change under load, ${ground}`, () => {
  before(function () {
    if (ON_REAL_GROUND && !hasNatsServer()) skip(this, 'no nats-server is installed');
  });

  Object.entries(generic).forEach(([title, trouble], i) => {
    it(title, async () => {
      const { puts, scans, changes, regions } = await genericTest(400 + i, trouble);
      expect(puts).at.least(ENOUGH.puts);
      expect(scans).at.least(ENOUGH.scans);
      if (trouble.confChange) expect(changes).at.least(ENOUGH.changes);
      if (trouble.split) expect(regions).at.least(ENOUGH.regions);
    });
  });
});
