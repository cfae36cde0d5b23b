import type { Logger, ReplyTo } from '../../actors/index.js';
import type { SchedulerRefusal } from '../../machines/scheduler.machine.js';
import { pdpb } from '../proto/index.js';
import { emptyReply } from './empty-replies.js';
import { SchedulerFault } from './fault.js';
import type { SchedulerGroup } from './group.js';
import { isRead } from './reads.js';
import type { SchedulerKind, SchedulerService } from './service.js';
import type { SchedulerState } from './state.js';

export interface SchedulerAnswersParts {
  readonly cluster: string;
  readonly state: SchedulerState;
  readonly group: SchedulerGroup;
  readonly service: SchedulerService;
  readonly logger: Logger;
}

type AnyRequest = { readonly type: SchedulerKind; readonly replyTo?: ReplyTo };

/** Answers the scheduler's requests: each gets a reply of its kind, in whose header a refusal stands. */
export class SchedulerAnswers {
  readonly #parts: SchedulerAnswersParts;

  constructor(parts: SchedulerAnswersParts) {
    this.#parts = parts;
  }

  answer(event: unknown): void {
    const request = event as AnyRequest;
    if (!isRead(request.type)) return this.#answer(request);
    // Confirmed after it came (ReadIndex): who was deposed and has not noticed answers nobody from a state of the past.
    this.#parts.group.raftGroup?.read(({ ok }) =>
      ok ? this.#answer(request) : this.refuse(request, 'not-leader'),
    );
  }

  #answer(request: AnyRequest): void {
    try {
      const reply = this.#parts.service.answer(request as Parameters<SchedulerService['answer']>[0]);
      if (!(reply instanceof Promise)) request.replyTo?.send(reply);
      else {
        reply
          .then((value) => request.replyTo?.send(value))
          .catch((error: unknown) => this.#refuseWith(request, error));
      }
    } catch (error) {
      this.#refuseWith(request, error);
    }
  }

  refuse(event: unknown, reason: SchedulerRefusal): void {
    const { group } = this.#parts;
    const fault = reason === 'not-bootstrapped' ? this.#notBootstrapped() : group.refusal(reason);
    this.#refuseWith(event as AnyRequest, fault);
  }

  #notBootstrapped(): SchedulerFault {
    const { state, cluster } = this.#parts;
    const { expectedStores = 0 } = state.cluster ?? {};
    return new SchedulerFault(
      pdpb.ErrorType.NOT_BOOTSTRAPPED,
      `The cluster "${cluster}" waits for its first stores: ${state.stores.size} of ${expectedStores} have registered.`,
    );
  }

  #refuseWith(request: AnyRequest, error: unknown): void {
    const { service, logger } = this.#parts;
    const fault =
      error instanceof SchedulerFault
        ? error
        : new SchedulerFault(pdpb.ErrorType.UNKNOWN, error instanceof Error ? error.message : String(error));
    if (fault.type === pdpb.ErrorType.UNKNOWN)
      logger.error({ err: error, kind: request.type }, 'a request failed');
    request.replyTo?.send(emptyReply[request.type](service.header(fault)));
  }
}
