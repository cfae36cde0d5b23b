import type { Logger, ReplyTo } from '../../actors/index.js';
import type { StoreNodeHost } from '../../machines/index.js';
import { raft_serverpb } from '../../storage/proto/index.js';
import type { SchedulerClient } from '../pd-client.js';
import type { troupepb } from '../proto/index.js';
import type {
  PeerNotice,
  ProtocolEvent,
  RaftEvent,
  RegionEvent,
  RegionOrder,
  StoreAlive,
} from '../protocol.js';
import type { CheckRegionEvent, PeerTermEvent, RegionHashEvent, StoreQuestions } from './questions.js';
import type { ChangeRegionEvent } from './region-changes.js';
import { errorOf } from './region-errors.js';
import type { RegionOrders } from './region-orders.js';
import type { Reporter } from './reporter.js';
import type { RequestTimes } from './request-times.js';
import type { RestingRegions } from './resting-regions.js';
import type { StorePeers } from './store-peers.js';

const { ExtraMessageType } = raft_serverpb;

export interface StoreDutiesParts {
  readonly storeId: number;
  readonly logger: Logger;
  readonly scheduler: SchedulerClient;
  readonly peers: StorePeers;
  readonly questions: StoreQuestions;
  readonly orders: RegionOrders;
  readonly resting: RestingRegions;
  readonly reporter: Reporter;
  readonly requestTimes: RequestTimes;
  /** Nothing is served any more. */
  readonly stop: () => void;
}

type BootstrapEvent = ProtocolEvent<'store.bootstrapRegion'> & {
  readonly replyTo?: ReplyTo<troupepb.BootstrapRegionResponse>;
};

/** The store node machine's actions: each goes to the part of the store that it is for. */
export class StoreDuties implements StoreNodeHost {
  readonly #parts: StoreDutiesParts;
  /** One after the other: the scheduler asks again while the first answer is under way. */
  #bootstrapping: Promise<void> = Promise.resolve();

  constructor(parts: StoreDutiesParts) {
    this.#parts = parts;
  }

  /** What is on disk decides whether the first region is to be made: the scheduler's wish for it comes after. */
  bootstrapAfter(loading: Promise<void>): void {
    this.#bootstrapping = loading.catch(() => {});
  }

  bootstrapRegion({ region, replyTo }: BootstrapEvent): void {
    if (region === undefined || replyTo === undefined) return;
    this.#bootstrapping = this.#bootstrapping
      .then(() => this.#parts.peers.makeFirstRegion(region))
      .then(
        () => replyTo.send({ durable: true }),
        (error: unknown) => replyTo.fail('failed', error instanceof Error ? error.message : String(error)),
      );
  }

  refuseBootstrap({ replyTo }: BootstrapEvent): void {
    replyTo?.fail('stopped', `store ${this.#parts.storeId} has stopped`);
  }

  routeAbsent(event: RaftEvent): void {
    this.#parts.peers.contact(event);
  }

  refuseAbsent(event: RegionEvent & { replyTo?: ReplyTo<troupepb.RegionResponses>; address?: string }): void {
    const { storeId, requestTimes } = this.#parts;
    const regionId = event.context.regionId;
    const error = errorOf(`region ${regionId} is not on store ${storeId}: look it up again`, {
      regionNotFound: { regionId },
    });
    requestTimes.answered(event.requests, error, requestTimes.now());
    event.replyTo?.send({ regionError: error, responses: [] });
  }

  checkRegion(event: CheckRegionEvent): void {
    this.#parts.questions.checkRegion(event);
  }

  answerHash(event: RegionHashEvent): void {
    this.#parts.questions.answerHash(event);
  }

  answerTerm(event: PeerTermEvent): void {
    // Who has forgotten everything cannot be led by somebody who sleeps.
    this.#parts.peers.replicas.get(event.regionId)?.raftGroup?.wake();
    this.#parts.questions.answerTerm(event);
  }

  changeRegion(event: ChangeRegionEvent): void {
    this.#parts.questions.changeRegion(event);
  }

  /** The scheduler's own nodes alone may give orders. */
  carryOutOrder({ sender, ...order }: RegionOrder & { readonly sender?: string }): void {
    const { scheduler, orders, logger } = this.#parts;
    const clusterId = order.header?.clusterId ?? 0;
    const isOurs = clusterId === 0 || clusterId === scheduler.clusterId;
    if (isOurs && scheduler.isScheduler(sender ?? '')) orders.carryOut(order);
    else logger.debug({ sender, region: order.regionId }, 'an order of a stranger was dropped');
  }

  heardStore(event: StoreAlive): void {
    this.#parts.resting.heard(event);
  }

  /** What peers say outside of Raft. */
  heedNotice(event: PeerNotice): void {
    switch (event.extraMsg?.type) {
      case ExtraMessageType.MsgHibernateRequest:
      case ExtraMessageType.MsgHibernateResponse:
      case ExtraMessageType.MsgRegionWakeUp:
        return this.#parts.resting.heed(event);
      default:
        this.#parts.peers.notice(event);
    }
  }

  report(): void {
    this.#parts.reporter.report();
  }

  stop(): void {
    this.#parts.stop();
  }
}
