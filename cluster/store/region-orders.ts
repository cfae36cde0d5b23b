import type { Logger } from '../../actors/index.js';
import { type metapb, raft_cmdpb } from '../../storage/proto/index.js';
import { pdpb, type troupepb } from '../proto/index.js';
import { epochOf } from './admin/epoch.js';
import type { RegionReplica } from './replica.js';

const { AdminCmdType } = raft_cmdpb;

export interface RegionOrdersOptions {
  readonly logger: Logger;
  readonly replicas: ReadonlyMap<number, RegionReplica>;
  /** The way that clients' changes take. */
  readonly change: (request: troupepb.ChangeRegionRequest) => Promise<troupepb.ChangeRegionResponse>;
  /** The last part of a split keeps the region's id; else the first. */
  readonly rightDerive: boolean;
}

type Change = Pick<troupepb.ChangeRegionRequest, 'halve'> & {
  readonly command: Partial<raft_cmdpb.AdminRequest> & { readonly cmdType: raft_cmdpb.AdminCmdType };
};

/**
 * Carries out what the scheduler wants of regions that this store leads, one order a region at a time.
 *
 * An order holds for the region as it was when the scheduler gave it, and for the leader that it was given to. What it
 * cannot be used for any more is dropped: the scheduler sees what became of the region by the next heartbeat, and asks again.
 */
export class RegionOrders {
  readonly #options: RegionOrdersOptions;
  readonly #underWay = new Set<number>();

  constructor(options: RegionOrdersOptions) {
    this.#options = options;
  }

  carryOut(order: pdpb.RegionHeartbeatResponse): void {
    const { replicas, logger, change } = this.#options;
    const { regionId, regionEpoch } = order;
    const replica = replicas.get(regionId);
    const wanted = this.#changeOf(order, replica);
    if (wanted === undefined) return;
    const flaw = this.#underWay.has(regionId) ? 'another order is under way' : refuse(order, replica);
    if (flaw !== undefined) {
      logger.debug({ region: regionId, why: flaw }, 'an order of the scheduler was dropped');
      return;
    }
    this.#underWay.add(regionId);
    const context = { regionId, regionEpoch, peer: undefined, term: 0 };
    change({ context, halve: wanted.halve, command: raft_cmdpb.AdminRequest.from(wanted.command) })
      .then(({ regionError, refusal }) => {
        const why = refusal?.message ?? regionError?.message;
        if (why === undefined)
          logger.debug({ region: regionId }, 'an order of the scheduler was carried out');
        else logger.debug({ region: regionId, why }, 'an order of the scheduler was refused');
      })
      .catch((error: unknown) => logger.debug({ err: error, region: regionId }, 'an order was not answered'))
      .finally(() => this.#underWay.delete(regionId));
  }

  /** `undefined` where nothing is wanted. */
  #changeOf(order: pdpb.RegionHeartbeatResponse, replica: RegionReplica | undefined): Change | undefined {
    const { changePeer, changePeerV2, transferLeader, merge, splitRegion } = order;
    const changes = changePeer === undefined ? changePeerV2?.changes : [changePeer];
    if (changes !== undefined)
      return change({ cmdType: AdminCmdType.ChangePeerV2, changePeerV2: { changes } });
    if (transferLeader !== undefined) {
      const peer = bestOf(transferLeader, replica);
      return change({ cmdType: AdminCmdType.TransferLeader, transferLeader: { peer } });
    }
    if (merge !== undefined) {
      const { target } = merge;
      return change({ cmdType: AdminCmdType.PrepareMerge, prepareMerge: { minIndex: 0, target } });
    }
    if (splitRegion === undefined) return undefined;
    // In half where no keys are given: a store finds the middle by reading, whether it may be approximate or not.
    if (splitRegion.policy !== pdpb.CheckPolicy.USEKEY)
      return { command: { cmdType: AdminCmdType.BatchSplit }, halve: true };
    const requests = splitRegion.keys.map((splitKey) => ({ splitKey, newRegionId: 0, newPeerIds: [] }));
    const { rightDerive } = this.#options;
    return change({ cmdType: AdminCmdType.BatchSplit, splits: { requests, rightDerive } });
  }
}

function change(command: Change['command']): Change {
  return { command, halve: false };
}

/** Why the order is of no use here. */
function refuse(order: pdpb.RegionHeartbeatResponse, replica: RegionReplica | undefined): string | undefined {
  const { targetPeer, regionEpoch } = order;
  if (!replica?.raftGroup?.isLeader) return 'this store does not lead the region';
  if (targetPeer !== undefined && targetPeer.id !== replica.peerId) return 'it is for another leader';
  const own = epochOf(replica.region);
  const same = regionEpoch?.confVer === own.confVer && regionEpoch.version === own.version;
  return same ? undefined : 'the region has moved on since';
}

/** Where the scheduler leaves the choice: whoever has most of the log. */
function bestOf(
  { peer, peers }: pdpb.TransferLeader,
  replica: RegionReplica | undefined,
): metapb.Peer | undefined {
  const matchOf = ({ id }: metapb.Peer) => replica?.raftGroup?.raft.memberProgress(id)?.match ?? 0;
  return peers.length === 0 ? peer : [...peers].sort((a, b) => matchOf(b) - matchOf(a))[0];
}
