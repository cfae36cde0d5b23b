import { expect } from 'chai';
import { silentLogger, VirtualClock } from '../../actors/index.js';
import { pdpb } from '../../cluster/proto/index.js';
import { StalePeers } from '../../cluster/store/stale-peers.js';
import type { StorePeers } from '../../cluster/store/store-peers.js';
import type { Engine } from '../../storage/index.js';
import { metapb } from '../../storage/proto/index.js';

const NO_KEY = new Uint8Array(0);
const TIMEOUT_MS = 1_000;

/** A peer on store 4 that was made by a message at `namedAt`, and has no region yet. */
function waiting(peerId: number, namedAt: number) {
  return {
    region: { id: 1, startKey: NO_KEY, endKey: NO_KEY, regionEpoch: { confVer: 0, version: 0 }, peers: [] },
    peerId,
    namedAt,
    initialised: false,
    mergeState: undefined,
    raftGroup: { stopped: false, isLeader: false, quietTicks: 1_000, asleep: false },
  };
}

/** A peer on store 4 with a region of which the scheduler knows nothing, while another has its first key. */
function unknown() {
  const region = metapb.Region.from({ id: 1, regionEpoch: { confVer: 1, version: 2 }, peers: [] });
  return { ...waiting(9, 2), region, initialised: true };
}

const MEMBER = { id: 2, storeId: 1, role: metapb.PeerRole.Voter };

function regionOf(id: number, confVer: number, version: number): pdpb.GetRegionResponse {
  const region = metapb.Region.from({ id, regionEpoch: { confVer, version }, peers: [MEMBER] });
  return pdpb.GetRegionResponse.from({ region });
}

async function removed(
  replica: ReturnType<typeof waiting> | ReturnType<typeof unknown>,
  known: Partial<pdpb.GetRegionResponse>,
  storeId = 4,
): Promise<boolean> {
  const clock = new VirtualClock();
  let gone = false;
  const peers = {
    replicas: new Map([[1, replica]]),
    meta: { tombstones: new Map(), neighbour: () => undefined, region: () => undefined },
    sources: { isAwaited: () => false },
    destroy: () => {
      gone = true;
    },
  };
  const stale = new StalePeers({
    clock,
    logger: silentLogger,
    scheduler: {
      getRegion: async () => regionOf(3, 1, 3),
      getRegionById: async () => pdpb.GetRegionResponse.from(known),
      scanRegions: async () => [pdpb.Region.from(regionOf(1, 1, 1))],
      reportMerged: async () => {},
    },
    engine: {} as Engine,
    peers: peers as unknown as StorePeers,
    storeId,
    tickInterval: 100,
    timeout: TIMEOUT_MS,
    tombstoneLifetime: TIMEOUT_MS,
  });
  stale.start();
  await clock.runUntil(() => gone, TIMEOUT_MS);
  stale.stop();
  return gone;
}

describe('a peer that hears of no leader', () => {
  it('goes when the scheduler knows a newer membership without it', async () => {
    expect(await removed(waiting(9, 2), regionOf(1, 3, 1))).to.equal(true);
  });

  // Seed 25 of the store simulation: its vote was the one that the region needed.
  it('stays while the scheduler has not heard of the change that made it', async () => {
    expect(await removed(waiting(9, 2), regionOf(1, 1, 1))).to.equal(false);
    expect(await removed(waiting(9, 2), regionOf(1, 2, 1))).to.equal(false);
  });

  // Seed 220: its leader's store was well, and nobody counted.
  it('goes also when it has missed its removal in its sleep', async () => {
    const raftGroup = { stopped: false, isLeader: false, quietTicks: 0, asleep: true };
    expect(await removed({ ...waiting(9, 2), raftGroup }, regionOf(1, 3, 1))).to.equal(true);
    // Seed 251: it led, slept, and others went on.
    const leading = { ...raftGroup, isLeader: true };
    expect(await removed({ ...waiting(9, 2), raftGroup: leading }, regionOf(1, 3, 1))).to.equal(true);
    expect(
      await removed({ ...waiting(MEMBER.id, 2), raftGroup }, regionOf(1, 3, 1), MEMBER.storeId),
    ).to.equal(false);
  });

  // Seed 123: a part of a split was reported, and the one that keeps the region's id was not yet.
  it('stays while the scheduler knows nothing of its region, and does not know that it was merged', async () => {
    expect(await removed(unknown(), {})).to.equal(false);
    expect(await removed(unknown(), { merged: true })).to.equal(true);
  });
});
