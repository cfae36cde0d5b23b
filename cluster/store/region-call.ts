import type { ReplyTo } from '../../actors/index.js';
import type { metapb } from '../../storage/proto/index.js';
import type { errorpb, troupepb } from '../proto/index.js';
import type { RegionEvent } from '../protocol.js';
import type { Outcome } from '../raft/state-machine.js';
import type { CallSpans } from '../tracing/call-spans.js';
import { errorOf, notLeader } from './region-errors.js';
import type { RequestTimes } from './request-times.js';

/** What a call needs to know of the region that it was made to, when it is refused. */
export interface CalledRegion {
  readonly region: metapb.Region;
  /** The metapb peer with this id; 0 for none. */
  peerOf(peerId: number): metapb.Peer | undefined;
  /** Regions here that came of the same split. */
  siblings(): readonly metapb.Region[];
  /** A call is refused because too much is under way. */
  refusedAsBusy(): void;
}

/** One client's requests of one turn to one region, and the one answer that they get. */
export class RegionCall {
  readonly event: RegionEvent;
  /** Of its traced requests; absent where there are none, as nearly always. */
  readonly spans: CallSpans | undefined;
  /** Absent when the requests were told instead of asked: then nobody hears of them. */
  readonly #replyTo: Pick<ReplyTo<troupepb.RegionResponses>, 'send'> | undefined;
  readonly #called: CalledRegion;
  readonly #times: RequestTimes | undefined;
  readonly #since: number;
  #answered = false;

  /** @param times where its duration and its end are counted; not given for a part of a call */
  constructor(
    event: RegionEvent,
    replyTo: Pick<ReplyTo<troupepb.RegionResponses>, 'send'> | undefined,
    called: CalledRegion,
    times?: RequestTimes,
    spans?: CallSpans | undefined,
  ) {
    this.event = event;
    this.spans = spans;
    this.#replyTo = replyTo;
    this.#called = called;
    this.#times = times;
    this.#since = times?.now() ?? 0;
  }

  answer(responses: readonly troupepb.RegionResponse[]): void {
    this.pass({ regionError: undefined, responses });
  }

  fail(regionError: errorpb.Error): void {
    this.pass({ regionError: withSiblings(regionError, this.#called), responses: [] });
  }

  /** An answer as it is. The first one counts. */
  pass(reply: troupepb.RegionResponses): void {
    if (this.#answered) return;
    this.#answered = true;
    this.#times?.answered(this.event.requests, reply.regionError, this.#since);
    this.#replyTo?.send(reply);
    this.spans?.end(reply);
  }

  /** Tells the caller which kind of "no" it was: only `undetermined` leaves a doubt. */
  refuse(outcome: Outcome<unknown> & { readonly ok: false }): void {
    const { region } = this.#called;
    switch (outcome.code) {
      case 'not-leader':
        this.fail(notLeader(region, this.#called.peerOf(outcome.leader)));
        break;
      case 'stale-command':
        this.fail(
          errorOf('another leader took the place of this command in the log: send it again', {
            staleCommand: {},
          }),
        );
        break;
      case 'busy':
        this.#called.refusedAsBusy();
        this.fail(
          errorOf(`region ${region.id} has too much under way: send it again later`, {
            serverIsBusy: { reason: 'too much is uncommitted', backoffMs: BUSY_BACKOFF_MS },
          }),
        );
        break;
      case 'stopped':
        this.fail(
          errorOf(`region ${region.id} is stopping on this store`, {
            regionNotFound: { regionId: region.id },
          }),
        );
        break;
      case 'undetermined':
        this.fail(
          errorOf(
            `region ${region.id} stopped on this store while the write was under way: its outcome is unknown`,
            {
              undeterminedResult: { message: 'the peer stopped' },
            },
          ),
        );
        break;
    }
  }
}

/** What has moved on may have been split: who asks is told all parts that are here, and need not look them up. */
export function withSiblings(error: errorpb.Error, called: Pick<CalledRegion, 'siblings'>): errorpb.Error {
  if (error.epochNotMatch === undefined) return error;
  const currentRegions = [...error.epochNotMatch.currentRegions, ...called.siblings()];
  return { ...error, epochNotMatch: { currentRegions } };
}

const BUSY_BACKOFF_MS = 50;

/** Of a call that was carried out in part: no other error may say that nothing was done. */
export function partlyDone(): errorpb.Error {
  return errorOf('some of the requests sent together were carried out, others were not: ask for each again', {
    undeterminedResult: { message: 'a part of the call was refused' },
  });
}
