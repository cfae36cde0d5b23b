import type { metapb } from '../../storage/proto/index.js';
import { pdpb } from '../proto/index.js';
import { malformation, sameRegion } from '../region-tree.js';
import { SchedulerFault } from './fault.js';
import type { Placement } from './placement/index.js';
import type { RegionFlow, RegionReport } from './placement/region-report.js';
import type { Order } from './placement/steps.js';
import type { Command, CommandResult, SchedulerState } from './state.js';

const { ErrorType } = pdpb;

type Heartbeat = Omit<pdpb.RegionHeartbeatRequest, 'header'>;

export interface RegionHeartbeatsOptions {
  readonly state: SchedulerState;
  readonly placement: Placement;
  /** Replicates a command. @throws SchedulerFault `NOT_LEADER` when it cannot */
  readonly propose: (command: Command) => Promise<CommandResult>;
  /** @throws SchedulerFault when the cluster has no such store */
  readonly mustKnow: (storeId: number) => void;
}

/** What leaders tell of their regions: judged, written down where the descriptor is new, and handed to placement. */
export class RegionHeartbeats {
  readonly #options: RegionHeartbeatsOptions;

  constructor(options: RegionHeartbeatsOptions) {
    this.#options = options;
  }

  /**
   * @returns what it told, and what the leader is to do
   * @throws SchedulerFault when it describes no region, or something newer is known
   */
  async take(
    heartbeat: Heartbeat,
  ): Promise<{ readonly report: RegionReport; readonly order: Order | undefined }> {
    const { region, leader } = this.#checked(heartbeat);
    const { state, propose, placement } = this.#options;
    const known = state.regions.get(region.id);
    if (known === undefined || !sameRegion(known, region)) {
      const result = await propose({ putRegions: { regions: [region] } });
      if (!result.ok) throw SchedulerFault.of(result.refusal);
      this.#refuseStale(region, heartbeat.term);
    }
    const { term, downPeers, pendingPeers, approximateSize, approximateKeys } = heartbeat;
    const report = {
      // The one that is kept anyway.
      region: state.regions.get(region.id) ?? region,
      leader,
      term,
      downPeers,
      pendingPeers,
      approximateSize,
      approximateKeys,
      flow: flowOf(heartbeat),
    };
    return { report, order: placement.heard(report) };
  }

  #checked(heartbeat: Heartbeat): {
    region: metapb.Region;
    leader: metapb.Peer;
  } {
    const { region, leader, term } = heartbeat;
    const flaw = region === undefined ? 'no region' : malformation(region);
    if (region === undefined || flaw !== undefined) {
      throw new SchedulerFault(ErrorType.INVALID_VALUE, `The heartbeat describes ${flaw}.`);
    }
    for (const peer of region.peers) this.#options.mustKnow(peer.storeId);
    if (
      leader === undefined ||
      !region.peers.some((one) => one.id === leader.id && one.storeId === leader.storeId)
    ) {
      throw new SchedulerFault(
        ErrorType.INVALID_VALUE,
        `The leader is none of the peers of region ${region.id}.`,
      );
    }
    this.#refuseStale(region, term);
    return { region, leader };
  }

  #refuseStale(region: metapb.Region, term: number): void {
    const report = this.#options.placement.view.report(region.id);
    const stale =
      this.#options.state.staleness(region) ??
      (report !== undefined && term < report.term
        ? `region ${region.id} has a leader of term ${report.term}`
        : undefined);
    if (stale !== undefined)
      throw new SchedulerFault(ErrorType.DUPLICATED_ENTRY, `The heartbeat is stale: ${stale}.`);
  }
}

/** What a heartbeat counts, a second. */
function flowOf({
  bytesWritten,
  keysWritten,
  bytesRead,
  keysRead,
  interval,
}: pdpb.RegionHeartbeatRequest): RegionFlow {
  const seconds = Math.max(1, (interval?.endTimestamp ?? 0) - (interval?.startTimestamp ?? 0));
  const rate = (count: number): number => Math.round(count / seconds);
  return {
    bytesWritten: rate(bytesWritten),
    keysWritten: rate(keysWritten),
    bytesRead: rate(bytesRead),
    keysRead: rate(keysRead),
  };
}
