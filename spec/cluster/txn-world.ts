import { expect } from 'chai';
import type { ActorSystem } from '../../actors/index.js';
import { type errorpb, kvrpcpb, type pdpb, type troupepb } from '../../cluster/proto/index.js';
import type { StoreTuning } from '../../cluster/store/tuning.js';
import { isTxnRead } from '../../cluster/store/txn/index.js';
import { composeTimestamp } from '../../cluster/timestamp.js';
import { txnKey } from '../../storage/index.js';
import { raft_cmdpb } from '../../storage/proto/index.js';
import { FaultyRegionWorld, storeName } from './faulty-region-world.js';
import { QUICK } from './region-world.js';

export const { Op } = kvrpcpb;
const bytes = (text: string): Uint8Array => Buffer.from(text);
export const show = (value: Uint8Array | undefined): string => Buffer.from(value ?? []).toString();

export interface PrewriteOptions {
  readonly primary?: string;
  readonly ttl?: number;
  readonly asyncCommit?: boolean;
  readonly onePc?: boolean;
  readonly secondaries?: readonly string[];
  readonly minCommitTs?: bigint;
}

/** A cluster whose peers are sent transactional requests one by one, as a client's library sends them. */
export class TxnWorld extends FaultyRegionWorld {
  #client: ActorSystem | undefined;

  get #sender(): ActorSystem {
    if (this.#client === undefined) throw new Error('nobody to send');
    return this.#client;
  }

  static override async start(
    stores: number,
    first = stores,
    tuning: StoreTuning = QUICK,
  ): Promise<TxnWorld> {
    const world = new TxnWorld();
    await world.scheduler(first);
    for (let i = 1; i <= stores; i++) await world.startStore(storeName(i), tuning);
    world.database = await world.client();
    world.#client = await world.bareSystem('client-8');
    await world.eventually('a leader', (status) => status.regions.every(({ leader }) => leader !== null));
    return world;
  }

  /** A timestamp of the oracle. */
  async ts(): Promise<bigint> {
    const reply = await this.ask<pdpb.TsoResponse>('scheduler-1/pd', { type: 'pd.tso', count: 1 });
    return composeTimestamp(reply.timestamp?.physical ?? 0, reply.timestamp?.logical ?? 0);
  }

  /** Sends requests to the leader of a region, as one call, and does not wait: time stands still. */
  post(
    region: number,
    requests: readonly troupepb.RegionRequest[],
    options: { readonly store?: number; readonly version?: number } = {},
  ): Promise<troupepb.RegionResponses> {
    const store = options.store ?? this.leaderOf(region);
    const replica = this.peer(region, store);
    const own = replica.region.regionEpoch ?? { confVer: 0, version: 0 };
    const regionEpoch = { ...own, version: options.version ?? own.version };
    const [first] = requests;
    const event = {
      type: first !== undefined && (isTxnRead(first) || first.rawGet !== undefined) ? 'read' : 'write',
      context: { regionId: region, regionEpoch, peer: undefined, term: 0 },
      requests,
    };
    const address = `${storeName(store)}/region/${region}/peer/${replica.peerId}`;
    return this.#sender.ref(address).ask(event, { timeout: 30_000 }) as Promise<troupepb.RegionResponses>;
  }

  /** The same, and waits for the answer. */
  send(...call: Parameters<TxnWorld['post']>): Promise<troupepb.RegionResponses> {
    return this.until(this.post(...call));
  }

  /** The same for one request, which the region must be able to serve. */
  async one(request: troupepb.RegionRequest, region = 1): Promise<troupepb.RegionResponse> {
    const { regionError, responses } = await this.send(region, [request]);
    expect(regionError, regionError?.message).to.equal(undefined);
    expect(responses).to.have.length(1);
    return responses[0] ?? {};
  }

  async prewrite(
    startTs: bigint,
    pairs: Readonly<Record<string, string>>,
    options: PrewriteOptions = {},
    region = 1,
  ): Promise<kvrpcpb.PrewriteResponse> {
    const { prewrite } = await this.one(prewriteRequest(startTs, pairs, options), region);
    if (prewrite === undefined) throw new Error('no answer to a prewrite');
    return prewrite;
  }

  async commit(startTs: bigint, commitTs: bigint, keys: readonly string[], region = 1) {
    const { commit } = await this.one(commitRequest(startTs, commitTs, keys), region);
    if (commit === undefined) throw new Error('no answer to a commit');
    return commit;
  }

  async getAt(ts: bigint, key: string, region = 1): Promise<kvrpcpb.GetResponse> {
    const { get } = await this.one(txnGet(ts, key), region);
    if (get === undefined) throw new Error('no answer to a get');
    return get;
  }

  /** What a key is at a timestamp: its value, `-` for none, or what stands in the way. */
  async at(ts: bigint, key: string, region = 1): Promise<string> {
    const { value, notFound, error } = await this.getAt(ts, key, region);
    if (error?.locked !== undefined) return `locked by ${error.locked.lockVersion}`;
    if (error !== undefined) return error.abort || error.invalid;
    return notFound ? '-' : show(value);
  }

  /** A whole transaction in two phases. @returns its commit timestamp */
  async transact(pairs: Readonly<Record<string, string>>, region = 1): Promise<bigint> {
    const startTs = await this.ts();
    const { errors } = await this.prewrite(startTs, pairs, {}, region);
    expect(errors).to.deep.equal([]);
    const commitTs = await this.ts();
    expect((await this.commit(startTs, commitTs, Object.keys(pairs), region)).error).to.equal(undefined);
    return commitTs;
  }

  splitTxn(id: number, ...keys: string[]) {
    return this.must(id, {
      cmdType: raft_cmdpb.AdminCmdType.BatchSplit,
      splits: {
        requests: keys.map((key) => ({ splitKey: txnKey(bytes(key)), newRegionId: 0, newPeerIds: [] })),
        rightDerive: false,
      },
    });
  }

  /** Nothing is left of any command, anywhere. */
  expectIdle(): void {
    for (const [name, { txn }] of this.stores) {
      expect(txn.writes.size, `commands on ${name}`).to.equal(0);
      expect(txn.writes.latches.size, `latches on ${name}`).to.equal(0);
      expect(txn.memoryLocks.size, `memory locks on ${name}`).to.equal(0);
    }
  }

  override async close(): Promise<void> {
    await this.when('no command under way', () =>
      [...this.stores.values()].every(({ txn }) => txn.writes.size === 0),
    );
    this.expectIdle();
    await super.close();
  }
}

export function prewriteRequest(
  startTs: bigint,
  pairs: Readonly<Record<string, string>>,
  options: PrewriteOptions = {},
): troupepb.RegionRequest {
  const keys = Object.keys(pairs);
  const prewrite = kvrpcpb.PrewriteRequest.from({
    mutations: keys.map((key) => ({ op: Op.Put, key: bytes(key), value: bytes(pairs[key] ?? '') })),
    primaryLock: bytes(options.primary ?? keys[0] ?? ''),
    startVersion: startTs,
    lockTtl: options.ttl ?? 3_000,
    txnSize: keys.length,
    minCommitTs: options.minCommitTs ?? 0n,
    useAsyncCommit: options.asyncCommit ?? false,
    secondaries: (options.secondaries ?? []).map(bytes),
    tryOnePc: options.onePc ?? false,
  });
  return { prewrite };
}

export function commitRequest(
  startTs: bigint,
  commitTs: bigint,
  keys: readonly string[],
): troupepb.RegionRequest {
  return { commit: { startVersion: startTs, commitVersion: commitTs, keys: keys.map(bytes) } };
}

export function txnGet(ts: bigint, key: string): troupepb.RegionRequest {
  return { get: { key: bytes(key), version: ts } };
}

export function rollbackRequest(startTs: bigint, ...keys: string[]): troupepb.RegionRequest {
  return { batchRollback: { startVersion: startTs, keys: keys.map(bytes) } };
}

export function scanTxn(
  ts: bigint,
  start: string,
  end: string,
  options: Partial<kvrpcpb.ScanRequest> = {},
): troupepb.RegionRequest {
  return {
    scan: kvrpcpb.ScanRequest.from({
      startKey: bytes(start),
      endKey: bytes(end),
      version: ts,
      limit: 1_000,
      ...options,
    }),
  };
}

/** The kind of a region error. */
export function kindOf(error: errorpb.Error | undefined): string | undefined {
  if (error === undefined) return undefined;
  return Object.entries(error).find(([name, value]) => name !== 'message' && value !== undefined)?.[0];
}

/** What came of a call, once it has come. */
export function watch(reply: Promise<troupepb.RegionResponses>): { reply?: troupepb.RegionResponses } {
  const seen: { reply?: troupepb.RegionResponses } = {};
  reply.then(
    (came) => {
      seen.reply = came;
    },
    () => {},
  );
  return seen;
}
