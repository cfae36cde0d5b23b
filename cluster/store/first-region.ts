import type { Clock } from '../../actors/index.js';
import { type Engine, loadRegionState, saveRegionState } from '../../storage/index.js';
import { type metapb, raft_serverpb } from '../../storage/proto/index.js';
import { TroupeError } from '../errors.js';
import type { RaftHost } from '../raft/host.js';
import { INITIAL_LOG } from '../raft/initial-log.js';
import { DEFAULT_TICK_INTERVAL_MS, type RaftTuning } from '../raft/tuning.js';
import { confStateOf, peerOnStore } from './admin/change-peer.js';
import type { PeerCreation } from './peer-creation.js';
import type { RegionReplica } from './replica.js';
import type { StoreDirectory } from './store-directory.js';
import type { StoreMeta } from './store-meta.js';

export interface FirstRegionParts {
  readonly storeId: number;
  readonly engine: Engine;
  readonly clock: Clock;
  readonly host: RaftHost;
  readonly directory: StoreDirectory;
  readonly standalone: boolean;
  readonly tuning?: RaftTuning | undefined;
  readonly meta: StoreMeta;
  /** By region. */
  readonly replicas: ReadonlyMap<number, RegionReplica>;
  readonly creation: PeerCreation;
  /** On a repaired store: takes the region for one that was forgotten, if its peer is from before the repair. */
  readonly claims: (region: metapb.Region) => Promise<boolean> | undefined;
}

/** Ticks after which the first peer of a new cluster campaigns. */
const FIRST_CAMPAIGN_TICKS = 2;

/**
 * Makes this store's peer of the first region of a new cluster, durable when this resolves. Repeats are harmless: what is
 * durable already is only confirmed. @throws TroupeError `failed` when the peer is not durable here, or not to be
 */
export async function makeFirstRegion(region: metapb.Region, parts: FirstRegionParts): Promise<void> {
  const { storeId, engine, host, directory, standalone, meta, replicas, creation } = parts;
  const peer = peerOnStore(region, storeId);
  if (peer === undefined)
    throw new TroupeError('failed', `region ${region.id} has no peer on store ${storeId}`);
  const here = replicas.get(region.id);
  if (here?.initialised || meta.tombstone(region.id) !== undefined) return;
  // The others were faster: its snapshot is on its way.
  if (here !== undefined) throw new TroupeError('failed', `region ${region.id} is not durable here yet`);
  if (await parts.claims(region)) return;
  // It was here, and its tombstone is forgotten; or what became of it came before it.
  if (peer.id <= meta.collectedThrough || meta.overlapping(region).length > 0) return;
  // From here on no message of the others makes it anew.
  meta.replace([region]);
  if ((await loadRegionState(engine, region.id)) === undefined) {
    const batch = engine.batch();
    saveRegionState(batch, region.id, { state: raft_serverpb.PeerState.Normal, region, peerId: peer.id });
    if (!standalone) {
      // An earlier life may have given its vote before it knew its region.
      const [promised] = await host.log.hardStates([region.id]);
      host.log.create(batch, region.id, INITIAL_LOG, confStateOf(region), promised);
    }
    await engine.write(batch);
    await engine.sync();
  }
  await directory.refresh();
  const stored = await host.log.loadStored(region.id);
  if (replicas.has(region.id)) return;
  const replica = creation.startStored({ region, peer, mergeState: undefined, stored });
  if (region.peers[0]?.id === peer.id) campaignSoon(replica, parts);
}

/** A new cluster need not wait for an election timeout: one of its peers asks as soon as the others should be there. */
function campaignSoon(replica: RegionReplica, { clock, tuning }: FirstRegionParts): void {
  const ticks = tuning?.tickInterval ?? DEFAULT_TICK_INTERVAL_MS;
  clock.setTimeout(() => {
    if (!replica.stopped && replica.group.leader === 0) replica.group.campaign();
  }, FIRST_CAMPAIGN_TICKS * ticks);
}
