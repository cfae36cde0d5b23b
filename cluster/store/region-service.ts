import type { ReplyTo } from '../../actors/index.js';
import type { PeerRefusal } from '../../machines/index.js';
import type { metapb } from '../../storage/proto/index.js';
import type { errorpb, troupepb } from '../proto/index.js';
import type { RegionEvent } from '../protocol.js';
import type { RaftGroup } from '../raft/group.js';
import type { PeerSpans } from '../tracing/peer-spans.js';
import type { ReadableReplica, ReadTurn } from './read-turn.js';
import { type CalledRegion, RegionCall } from './region-call.js';
import { checkVersion } from './region-check.js';
import { mergingError, notLeader, peerRefused, storeNotMatch } from './region-errors.js';
import type { RegionProposals } from './region-proposals.js';
import type { RequestTimes } from './request-times.js';
import { divideCall, type StoreTxn, spacesOf, type TxnRegion } from './txn/index.js';

/** The replica whose region is served. */
export interface ServedReplica extends CalledRegion, ReadableReplica, TxnRegion {
  readonly region: metapb.Region;
  readonly stopped: boolean;
  readonly raftGroup: RaftGroup | undefined;
  /** While the region waits to be merged into another. */
  readonly mergeState: unknown;
}

export interface RegionServiceParts {
  readonly storeId: number;
  readonly reads: ReadTurn;
  readonly txn: StoreTxn;
  readonly proposals: RegionProposals;
  /** Of all clients' requests to this store. */
  readonly requestTimes: RequestTimes;
  /** Absent where nobody takes spans. */
  readonly spans: PeerSpans | undefined;
}

/** Serves clients' calls to a region, or refuses them. */
export class RegionService {
  readonly #replica: ServedReplica;
  readonly #parts: RegionServiceParts;

  constructor(replica: ServedReplica, parts: RegionServiceParts) {
    this.#replica = replica;
    this.#parts = parts;
  }

  read(event: RegionEvent): void {
    this.readAgain(this.#callOf(event));
  }

  /** Confirms a call, and hands it to the reads of the turn. */
  readAgain(call: RegionCall): void {
    this.#serve(call, () =>
      this.#replica.group.read((outcome) => {
        if (!outcome.ok) return call.refuse(outcome);
        call.spans?.event('confirmed');
        this.#parts.reads.add(call, this.#replica);
      }),
    );
  }

  write(event: RegionEvent): void {
    this.#serve(this.#callOf(event), (call) => {
      const { proposals, txn: transactions } = this.#parts;
      const spaces = spacesOf(event.requests, 'write');
      if (spaces === 'raw') return proposals.write(call);
      if (spaces === 'txn') return transactions.write(call, this.#replica);
      const { raw, txn } = divideCall(call, this.#replica);
      proposals.write(raw);
      transactions.write(txn, this.#replica);
    });
  }

  /** Answers what the peer's state does not allow. */
  refuse(event: RegionEvent, reason: PeerRefusal): void {
    this.#callOf(event).fail(peerRefused(this.#replica.region, reason));
  }

  /** Serves a call unless it has to be refused, once it is known that its timestamps were given. */
  #serve(call: RegionCall, serve: (call: RegionCall) => void): void {
    const { event } = call;
    const error = this.refusalOf(event);
    if (error !== undefined) return call.fail(error);
    const { txn } = this.#parts;
    const distrust = txn.distrust(event.requests);
    if (distrust !== undefined) return call.fail(distrust);
    if (!txn.doubts(event.requests, this.#replica)) return serve(call);
    txn.askFirst(call, () => {
      const refusal = this.refusalOf(event);
      if (refusal === undefined) serve(call);
      else call.fail(refusal);
    });
  }

  /** Why the region cannot serve an event now. */
  refusalOf(event: RegionEvent): errorpb.Error | undefined {
    const { storeId } = this.#parts;
    const { peer, regionEpoch } = event.context;
    if (peer !== undefined && peer.storeId !== 0 && peer.storeId !== storeId)
      return storeNotMatch(storeId, peer.storeId);
    const { region, group, raftGroup, mergeState } = this.#replica;
    if (!group.isLeader) {
      raftGroup?.seekLeader();
      return notLeader(region, this.#replica.peerOf(group.leader));
    }
    if (mergeState !== undefined) return mergingError(region);
    return checkVersion(region, regionEpoch);
  }

  #callOf(event: RegionEvent): RegionCall {
    const { replyTo } = event as RegionEvent & { readonly replyTo?: ReplyTo<troupepb.RegionResponses> };
    const { requestTimes, spans } = this.#parts;
    if (event.traces === undefined) return new RegionCall(event, replyTo, this.#replica, requestTimes);
    return new RegionCall(event, replyTo, this.#replica, requestTimes, spans?.receive(event));
  }
}
