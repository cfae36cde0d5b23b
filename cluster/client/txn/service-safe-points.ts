import type { SchedulerClient } from '../../pd-client.js';
import type { Deadline } from '../deadline.js';
import type { SafePointHolder } from './snapshot.js';

/** Holds garbage collection back at the scheduler, whose times to live are seconds. */
export class ServiceSafePoints implements SafePointHolder {
  readonly #scheduler: Pick<SchedulerClient, 'updateServiceSafePoint'>;

  constructor(scheduler: Pick<SchedulerClient, 'updateServiceSafePoint'>) {
    this.#scheduler = scheduler;
  }

  hold(service: string, timestamp: bigint, ttl: number, deadline: Deadline): Promise<bigint> {
    const seconds = Math.ceil(ttl / 1_000);
    return this.#scheduler.updateServiceSafePoint(Buffer.from(service), seconds, timestamp, deadline.terms);
  }

  async release(service: string, deadline: Deadline): Promise<void> {
    await this.#scheduler.updateServiceSafePoint(Buffer.from(service), 0, 0n, deadline.terms);
  }
}
