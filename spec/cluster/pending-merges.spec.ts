import { expect } from 'chai';
import { silentLogger, VirtualClock } from '../../actors/index.js';
import type { PeerMessages } from '../../cluster/store/peer-messages.js';
import { PendingMerges } from '../../cluster/store/pending-merges.js';
import type { RegionReplica } from '../../cluster/store/replica.js';
import { StoreMeta } from '../../cluster/store/store-meta.js';
import { metapb } from '../../storage/proto/index.js';
import { sampleRegion } from './region-samples.js';

const { Voter, Learner } = metapb.PeerRole;

/** A leader of a region that is prepared, with so many voters, of whose members one needs a snapshot. */
function takenBack(voters: number, others: readonly number[], version = 3): boolean {
  const clock = new VirtualClock();
  const meta = new StoreMeta();
  const target = sampleRegion(2, 'm', '', { version: 3 });
  const peers = [1, 2, 3].map((storeId) => ({
    id: storeId,
    storeId,
    role: storeId <= voters ? Voter : Learner,
  }));
  const region = { ...sampleRegion(1, '', 'm', { version: 3 }), peers };
  meta.replace([region, { ...target, regionEpoch: { confVer: 1, version } }]);
  let rolledBack = false;
  const replica = {
    region,
    peer: peers[0],
    stopped: false,
    mergeState: { minIndex: 5, commit: 9, target },
    group: { isLeader: true },
    raftGroup: {
      isLeader: true,
      status: () => ({ progress: new Map([[3, { state: 'snapshot', match: 0 }]]) }),
    },
    changes: {
      admits: () => true,
      rollbackMerge: () => {
        rolledBack = true;
      },
    },
  } as unknown as RegionReplica;
  const merges = new PendingMerges({
    clock,
    logger: silentLogger,
    messages: {} as PeerMessages,
    log: {},
    meta,
    replicas: new Map([[1, replica]]),
    interval: 100,
  } as unknown as ConstructorParameters<typeof PendingMerges>[0]);
  merges.add(replica);
  for (const peer of others) merges.wantsRollback(1, peer, 9);
  merges.stop();
  return rolledBack;
}

describe('a merge whose source has a member that needs a snapshot', () => {
  it('is taken back when another voter says that the target will not take it in', () => {
    expect(takenBack(3, [])).to.equal(false);
    expect(takenBack(3, [2])).to.equal(true);
  });

  it('is not taken back by a single voter: the target may be taking it in', () => {
    expect(takenBack(1, [])).to.equal(false);
    expect(takenBack(1, [3])).to.equal(false);
    // It has changed since: nobody is taken in any more.
    expect(takenBack(1, [], 4)).to.equal(true);
  });
});
