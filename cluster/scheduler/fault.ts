import type { pdpb } from '../proto/index.js';
import type { Refusal } from './registration.js';

/** Why a request is refused; becomes the error in the reply's header. */
export class SchedulerFault extends Error {
  constructor(
    readonly type: pdpb.ErrorType,
    message: string,
    /** Node that leads, where that is known and the reason. */
    readonly leader = '',
  ) {
    super(message);
  }

  static of({ type, message }: Refusal): SchedulerFault {
    return new SchedulerFault(type, message);
  }
}
