import { AskError } from '../../actors/index.js';
import { TroupeError } from '../errors.js';
import type { SchedulerClient } from '../pd-client.js';
import type { troupepb } from '../proto/index.js';
import { unknownRegion } from './region-info.js';
import { type AskStore, askLeader, settled } from './region-leader.js';

/** How the replicas of one region compare; what `troupe region check --json` prints. */
export interface RegionCheckReport {
  readonly region: number;
  /** Index of the log at which all of them were looked at. */
  readonly index: number;
  /** Hexadecimal; empty when no majority agrees. */
  readonly hash: string;
  readonly replicas: readonly {
    readonly peer: number;
    readonly store: number;
    /** `missing`: its store is away, or lags too far behind. */
    readonly state: ReplicaCheckState;
    readonly hash: string;
  }[];
}

/** What a comparison says of a replica; `missing`: its store is away, or lags too far behind. */
export const REPLICA_CHECK_STATES = ['equal', 'different', 'missing'] as const;
/** One of `REPLICA_CHECK_STATES`. */
export type ReplicaCheckState = (typeof REPLICA_CHECK_STATES)[number];

export interface CheckTerms {
  /** Milliseconds until the check is given up: all of a region's data is read. */
  readonly timeout: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Asks the store that leads the region to compare its replicas.
 * @throws TroupeError `not-found` for an unknown region, `unavailable` when nobody leads it or its store is away, `timeout`
 */
export async function checkRegion(
  askStore: AskStore<'store.checkRegion'>,
  scheduler: Pick<SchedulerClient, 'getAllStores' | 'getRegionById'>,
  regionId: number,
  terms: CheckTerms,
): Promise<RegionCheckReport> {
  const stores = await scheduler.getAllStores(terms);
  const { region, leader } = await scheduler.getRegionById(regionId, terms);
  if (region === undefined) throw unknownRegion(regionId);
  const { reply, trouble } = await askLeader({ region, leader }, stores, (node) =>
    ask(askStore, node, regionId, terms),
  );
  const why = trouble ?? reply?.regionError?.message;
  if (reply === undefined || why !== undefined) {
    throw new TroupeError('unavailable', `Region ${regionId} could not be checked: ${why}. Try again later.`);
  }
  return report(regionId, reply);
}

async function ask(
  askStore: AskStore<'store.checkRegion'>,
  node: string,
  regionId: number,
  { timeout, signal }: CheckTerms,
): Promise<troupepb.CheckRegionResponse | AskError> {
  const patience = { timeout, ...(signal === undefined ? {} : { signal }) };
  const reply = await settled(askStore(node, { type: 'store.checkRegion', regionId }, patience), signal);
  if (!(reply instanceof AskError) || reply.code !== 'timeout') return reply;
  throw new TroupeError(
    'timeout',
    `The check of region ${regionId} was not done within ${timeout} ms: all of its data is read; give it longer with --timeout.`,
    { cause: reply },
  );
}

function report(region: number, { index, hash, replicas }: troupepb.CheckRegionResponse): RegionCheckReport {
  return {
    region,
    index,
    hash: hex(hash),
    replicas: replicas.map(({ peer, state, hash: own }) => ({
      peer: peer?.id ?? 0,
      store: peer?.storeId ?? 0,
      state: REPLICA_CHECK_STATES.find((known) => known === state) ?? 'missing',
      hash: hex(own),
    })),
  };
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
