import { AskError } from '../../actors/index.js';
import { TroupeError } from '../errors.js';
import type { SchedulerClient } from '../pd-client.js';
import type { troupepb } from '../proto/index.js';
import type { ProtocolEvent } from '../protocol.js';

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

const STATES = ['equal', 'different', 'missing'] as const;
export type ReplicaCheckState = (typeof STATES)[number];

export interface CheckTerms {
  /** Milliseconds until the check is given up: all of a region's data is read. */
  readonly timeout: number;
  readonly signal?: AbortSignal | undefined;
}

/** Asks the store of this node; as `ActorRef.ask` does. */
export type AskStore = (
  node: string,
  event: ProtocolEvent<'store.checkRegion'>,
  patience: { readonly timeout: number; readonly signal?: AbortSignal },
) => Promise<unknown>;

/** How often another store is tried, when the one that led leads no more. */
const TRIES = 3;

/**
 * Asks the store that leads the region to compare its replicas.
 * @throws TroupeError `not-found` for an unknown region, `unavailable` when nobody leads it or its store is away, `timeout`
 */
export async function checkRegion(
  askStore: AskStore,
  scheduler: Pick<SchedulerClient, 'getAllStores' | 'getRegionById'>,
  regionId: number,
  terms: CheckTerms,
): Promise<RegionCheckReport> {
  const stores = await scheduler.getAllStores(terms);
  const { region, leader } = await scheduler.getRegionById(regionId, terms);
  if (region === undefined) {
    throw new TroupeError('not-found', `There is no region ${regionId}: \`troupe status\` lists them.`);
  }
  let trouble = 'its leader is not known';
  let candidates = [...(leader === undefined ? [] : [leader]), ...region.peers].map(({ storeId }) => storeId);
  for (let tries = 0; tries < TRIES && candidates.length > 0; tries++) {
    const [storeId] = candidates;
    const node = stores.find(({ id }) => id === storeId)?.address;
    const reply = node === undefined ? undefined : await ask(askStore, node, regionId, terms);
    candidates = candidates.filter((one) => one !== storeId);
    if (reply === undefined) {
      trouble = `store ${storeId} is not known`;
    } else if (reply instanceof AskError) {
      trouble = `store ${storeId} did not answer (${reply.message})`;
    } else if (reply.regionError === undefined) {
      return report(regionId, reply);
    } else {
      trouble = reply.regionError.message;
      const hint = reply.regionError.notLeader?.leader?.storeId;
      if (hint !== undefined && hint !== storeId)
        candidates = [hint, ...candidates.filter((one) => one !== hint)];
    }
  }
  throw new TroupeError(
    'unavailable',
    `Region ${regionId} could not be checked: ${trouble}. Try again later.`,
  );
}

async function ask(
  askStore: AskStore,
  node: string,
  regionId: number,
  { timeout, signal }: CheckTerms,
): Promise<troupepb.CheckRegionResponse | AskError> {
  const event: ProtocolEvent<'store.checkRegion'> = { type: 'store.checkRegion', regionId };
  try {
    const patience = { timeout, ...(signal === undefined ? {} : { signal }) };
    return (await askStore(node, event, patience)) as troupepb.CheckRegionResponse;
  } catch (error) {
    if (!(error instanceof AskError)) throw error;
    if (error.code === 'aborted') throw signal?.reason ?? error;
    if (error.code === 'timeout') {
      throw new TroupeError(
        'timeout',
        `The check of region ${regionId} was not done within ${timeout} ms: all of its data is read; give it longer with --timeout.`,
        { cause: error },
      );
    }
    return error;
  }
}

function report(region: number, { index, hash, replicas }: troupepb.CheckRegionResponse): RegionCheckReport {
  return {
    region,
    index,
    hash: hex(hash),
    replicas: replicas.map(({ peer, state, hash: own }) => ({
      peer: peer?.id ?? 0,
      store: peer?.storeId ?? 0,
      state: STATES.find((known) => known === state) ?? 'missing',
      hash: hex(own),
    })),
  };
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
