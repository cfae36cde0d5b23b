import { pdpb, type troupepb } from '../proto/index.js';
import type { ProtocolEvent } from '../protocol.js';
import { composeTimestamp } from '../timestamp.js';
import { SchedulerFault } from './fault.js';
import { MAX_SERVICE_ID_BYTES } from './safe-point-record.js';
import type { Command, CommandResult, SchedulerState } from './state.js';

const { ErrorType } = pdpb;
/** A service that lives longer says so again. */
export const MAX_SERVICE_TTL_S = 86_400;
/** Services that are told when somebody asks who holds the safe points back. */
const MAX_TOLD = 100;

export interface SafePointRequestsOptions {
  readonly state: SchedulerState;
  /** Unix milliseconds. */
  readonly wallClock: () => number;
  /** The first of so many timestamps. @throws SchedulerFault `NOT_LEADER` */
  readonly timestamps: (count: number) => Promise<pdpb.Timestamp>;
  /** Replicates a command. @throws SchedulerFault `NOT_LEADER` when it cannot */
  readonly propose: (command: Command) => Promise<CommandResult>;
}

type UpdateService = ProtocolEvent<'pd.updateServiceGCSafePoint'>;

/** The safe points as services and people see them; requests are checked here, before anything is replicated. */
export class SafePointRequests {
  readonly #options: SafePointRequestsOptions;

  constructor(options: SafePointRequestsOptions) {
    this.#options = options;
  }

  /** @throws SchedulerFault when it is wrong, or nobody else can hold anything; too late is a value */
  async updateService({
    serviceId,
    TTL,
    safePoint,
  }: UpdateService): Promise<Omit<pdpb.UpdateServiceGCSafePointResponse, 'header'>> {
    const { state, timestamps, propose } = this.#options;
    if (serviceId.length === 0 || serviceId.length > MAX_SERVICE_ID_BYTES)
      throw invalid(`A service's name has 1 to ${MAX_SERVICE_ID_BYTES} bytes, not ${serviceId.length}.`);
    if (TTL > MAX_SERVICE_TTL_S)
      throw invalid(
        `A service safe point holds for ${MAX_SERVICE_TTL_S} seconds at most, not ${TTL}: renew it in time.`,
      );
    const { physical: now, logical } = await timestamps(1);
    const holds = TTL > 0;
    if (holds && safePoint > composeTimestamp(now, logical))
      throw invalid(
        `The safe point ${safePoint} lies in the future: hold a timestamp that the scheduler has given.`,
      );
    const expiresAt = holds ? now + TTL * 1000 : 0;
    const result = await propose({ putServiceSafePoint: { serviceId, safePoint, expiresAt, now } });
    if (!result.ok) throw SchedulerFault.of(result.refusal);
    const held = holds && result.held === true;
    return { serviceId, TTL: held ? TTL : 0, minSafePoint: state.safePoints.transaction };
  }

  /** Who holds the safe points back, the earliest first. */
  services(): Pick<troupepb.GcStatus, 'services' | 'serviceCount'> {
    const now = Math.floor(this.#options.wallClock());
    const holding = [...this.#options.state.safePoints.services].filter(({ expiresAt }) => expiresAt > now);
    holding.sort((a, b) => (a.safePoint < b.safePoint ? -1 : a.safePoint > b.safePoint ? 1 : 0));
    const services = holding.slice(0, MAX_TOLD).map(({ serviceId, safePoint, expiresAt }) => ({
      serviceId,
      safePoint,
      expiresIn: expiresAt - now,
    }));
    return { services, serviceCount: holding.length };
  }
}

function invalid(message: string): SchedulerFault {
  return new SchedulerFault(ErrorType.INVALID_VALUE, message);
}
