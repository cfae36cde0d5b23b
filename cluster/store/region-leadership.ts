import type { metapb } from '../../storage/proto/index.js';
import type { RaftGroup } from '../raft/group.js';
import { votersOf } from './admin/change-peer.js';
import { notNow, type Refusal, refusal } from './admin/refusal.js';

/** The region that is led, or is to be. */
export interface LedReplica {
  readonly region: metapb.Region;
  readonly raftGroup: RaftGroup | undefined;
}

/** Entries that a new leader may lack when leadership moves to it (TiKV's `leader-transfer-max-log-lag`). */
const MAX_TRANSFER_LAG = 128;

/** How a region's leader gives its leadership to another. */
export class RegionLeadership {
  readonly #replica: LedReplica;

  constructor(replica: LedReplica) {
    this.#replica = replica;
  }

  /** Begins to hand over to the peer that is asked for. @returns why that cannot be */
  transfer(asked: metapb.Peer | undefined): Refusal | undefined {
    const { region, raftGroup: group } = this.#replica;
    const peer =
      asked &&
      region.peers.find(
        ({ id, storeId }) => id === asked.id || (asked.id === 0 && storeId === asked.storeId),
      );
    if (group === undefined || peer === undefined) {
      return refusal(
        'peer-unknown',
        `region ${region.id} has no peer on store ${asked?.storeId}: name a store of one of its peers`,
      );
    }
    if (peer.id === group.peerId) return undefined;
    const late = this.#lag(peer);
    if (late !== undefined) return late;
    const error = group.transferLeader(peer.id);
    if (error === undefined) return undefined;
    return error.code === 'transfer-refused'
      ? refusal('illegal-role', error.message)
      : notNow('not-ready', error.message);
  }

  /** Who is far behind would make the region wait for it: TiKV asks the target, whose answers tell as much. */
  #lag(peer: metapb.Peer): Refusal | undefined {
    const { region, raftGroup: group } = this.#replica;
    const status = group?.status();
    const member = status?.progress.get(peer.id);
    if (status === undefined || member === undefined) return undefined;
    const behind = `peer ${peer.id} of region ${region.id} on store ${peer.storeId}`;
    if (!member.live) return notNow('not-ready', `${behind} does not answer: start its store`);
    if (member.state === 'snapshot' || status.lastIndex - member.match > MAX_TRANSFER_LAG)
      return notNow('not-ready', `${behind} is behind: wait until it has caught up`);
    if (status.commit - member.knownCommit > MAX_TRANSFER_LAG)
      return notNow('not-ready', `${behind} has not applied enough yet: ask again`);
    return undefined;
  }

  /** Hands over to another voter, because this store stops. @returns whether leadership is on its way */
  withdraw(): boolean {
    const { region, raftGroup: group } = this.#replica;
    if (group === undefined) return false;
    if (group.status().transferee !== 0) return true;
    return this.handOver({ ...region, peers: region.peers.filter(({ id }) => id !== group.peerId) });
  }

  /**
   * A leader that is to go hands over to whoever is best prepared of those who stay.
   * @returns whether there was somebody
   */
  handOver(next: metapb.Region): boolean {
    const { region, raftGroup: group } = this.#replica;
    if (!group?.isLeader) return false;
    const { progress } = group.status();
    const remaining = votersOf(next).filter(({ id }) => votersOf(region).some((peer) => peer.id === id));
    const best = remaining
      .filter(({ id }) => id !== group.peerId && progress.get(id)?.live)
      .sort((a, b) => (progress.get(b.id)?.match ?? 0) - (progress.get(a.id)?.match ?? 0))[0];
    if (best === undefined || this.#lag(best) !== undefined) return false;
    return group.transferLeader(best.id) === undefined;
  }
}
