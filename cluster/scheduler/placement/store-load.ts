import type { metapb } from '../../../storage/proto/index.js';
import { IdSet } from './id-set.js';
import { isPending, type RegionFlow, type RegionReport, weightOf } from './region-report.js';

/** What the regions amount to on one store, as their leaders tell. */
export class StoreLoad {
  /** Ids of the regions that it leads, follows, learns, and of which its peer is behind. */
  readonly leaders = new IdSet();
  readonly followers = new IdSet();
  readonly learners = new IdSet();
  readonly pending = new IdSet();
  /** Bytes of the regions that it leads, and of all its replicas. */
  leaderSize = 0;
  regionSize = 0;
  /** Bytes a second that its replicas write, and that it reads for its clients as leader. */
  written = 0;
  read = 0;

  get leaderCount(): number {
    return this.leaders.size;
  }

  get regionCount(): number {
    return this.leaders.size + this.followers.size + this.learners.size;
  }

  /** Takes in, or out again, the peer of a region that is on this store. */
  count(report: RegionReport, peer: metapb.Peer, learner: boolean, sign: 1 | -1): void {
    const { region, leader } = report;
    const size = weightOf(report);
    const leads = leader.id === peer.id;
    const set = leads ? this.leaders : learner ? this.learners : this.followers;
    if (sign > 0) set.add(region.id);
    else set.delete(region.id);
    if (sign > 0 && isPending(report, peer.id)) this.pending.add(region.id);
    else if (sign < 0) this.pending.delete(region.id);
    this.regionSize += sign * size;
    if (leads) this.leaderSize += sign * size;
    this.#flow(report.flow, leads, sign);
  }

  #flow({ bytesWritten, bytesRead }: RegionFlow, leads: boolean, sign: 1 | -1): void {
    this.written += sign * bytesWritten;
    if (leads) this.read += sign * bytesRead;
  }
}
