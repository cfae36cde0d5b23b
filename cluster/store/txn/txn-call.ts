import type { Span } from '@opentelemetry/api';
import type { MvccCommand, Timestamp } from '../../../storage/index.js';
import type { metapb, raft_cmdpb } from '../../../storage/proto/index.js';
import type { errorpb, troupepb } from '../../proto/index.js';
import type { RegionEvent } from '../../protocol.js';
import type { CommandLog, Outcome } from '../../raft/state-machine.js';
import { partlyDone, type RegionCall } from '../region-call.js';
import type { Latched } from './latches.js';
import type { MemoryLock } from './memory-locks.js';

/** What transactional commands need of a region's replica. */
export interface TxnRegion {
  readonly region: metapb.Region;
  readonly stopped: boolean;
  readonly group: CommandLog;
  /**
   * It leads, has applied an entry of its own term, and everything that shaped its region is visible: what a snapshot of
   * the engine shows of keys that nobody else is at is the newest there is.
   */
  readonly isCurrent: boolean;
  /** Why the region cannot serve an event now. */
  refusalOf(event: RegionEvent): errorpb.Error | undefined;
  /**
   * Puts changes that were evaluated in `term` into the log; in another one they are refused.
   * @param done gets a `CommandResult`, or a refusal
   * @param visible reads see the changes, or never will here; called only after a result without an error
   * @param spans of the traced requests among those that the changes are of; asked where somebody takes them
   */
  proposeChanges(
    requests: readonly raft_cmdpb.Request[],
    term: number,
    done: (outcome: Outcome<unknown>) => void,
    visible: () => void,
    spans?: () => readonly Span[] | undefined,
  ): void;
}

/**
 * One client's transactional writes of one turn to one region: commands that are evaluated apart, and one answer.
 *
 * A region error is about all of them. Its kinds say that nothing was done, so a client gives up what it cannot ask for again
 * in time. Where one command is in the log, or was, while another is refused, the answer leaves a doubt instead.
 */
export class TxnCall {
  readonly call: RegionCall;
  readonly region: TxnRegion;
  readonly #responses: (troupepb.RegionResponse | undefined)[];
  #left: number;
  /** Commands of it in the log whose outcome nobody knows. */
  #inLog = 0;
  /** A command of it has changed something. */
  #changed = false;
  #refused = false;

  constructor(
    call: RegionCall,
    region: TxnRegion,
    private readonly told?: (
      regionId: number,
      request: troupepb.RegionRequest,
      response: troupepb.RegionResponse,
    ) => void,
  ) {
    this.call = call;
    this.region = region;
    const { length } = call.event.requests;
    this.#responses = new Array<undefined>(length).fill(undefined);
    this.#left = length;
  }

  requestAt(place: number): troupepb.RegionRequest {
    const request = this.call.event.requests[place];
    if (request === undefined) throw new Error(`a call has no request ${place}`);
    return request;
  }

  hasAnswer(place: number): boolean {
    return this.#responses[place] !== undefined;
  }

  /** What of it is not in the log must not get there any more. */
  get isRefused(): boolean {
    return this.#refused;
  }

  /** The changes of one of its commands go into the log. */
  enterLog(): void {
    this.#inLog++;
  }

  /** What came of those changes is known, to be told before any command of their entry is refused. */
  leaveLog(applied: boolean): void {
    this.#inLog--;
    if (applied) this.#changed = true;
  }

  /** See `RegionCall.refuse`. The first refusal counts. */
  refuse(outcome: Outcome<unknown> & { readonly ok: false }): void {
    this.#refuse(() => this.call.refuse(outcome));
  }

  /** See `RegionCall.fail`. The first refusal counts. */
  fail(regionError: errorpb.Error): void {
    this.#refuse(() => this.call.fail(regionError));
  }

  #refuse(say: () => void): void {
    if (this.#refused) return;
    this.#refused = true;
    if (this.#changed || this.#inLog > 0) this.call.fail(partlyDone());
    else say();
  }

  /** Answers the call when this was the last of its requests. */
  respond(place: number, response: troupepb.RegionResponse): void {
    if (this.#responses[place] !== undefined) return;
    this.#responses[place] = response;
    this.told?.(this.region.region.id, this.requestAt(place), response);
    if (--this.#left > 0) return;
    this.call.answer(this.#responses.filter((one) => one !== undefined));
  }
}

/** Changes of one request on their way into the log; whoever makes them has the latches of their keys. */
export class TxnChange implements Latched {
  ahead = 0;
  /** It has been answered, or will be without its latches. */
  ended = false;
  /** While its commit timestamp is chosen and its changes are not visible. */
  memoryLock: MemoryLock | undefined;
  /** Of the leadership in which it was evaluated. */
  term = 0;

  constructor(
    readonly owner: TxnCall,
    /** Among the call's requests. */
    readonly place: number,
    readonly latches: readonly string[],
    /** Bytes of keys and values that it keeps in memory, roughly. */
    readonly bytes: number,
  ) {}
}

/** A command that waits for its latches and its round. */
export class TxnCommand extends TxnChange {
  /** Nothing of it is under evaluation or in the log. */
  isWaiting = true;
  /** See `EvaluationRequest`. */
  commitFloor: Timestamp = 0n;

  /** @param amend changes what is said of it when it has succeeded */
  constructor(
    owner: TxnCall,
    place: number,
    readonly command: MvccCommand,
    latches: readonly string[],
    bytes: number,
    readonly amend: ((response: troupepb.RegionResponse) => troupepb.RegionResponse) | undefined,
  ) {
    super(owner, place, latches, bytes);
  }
}
