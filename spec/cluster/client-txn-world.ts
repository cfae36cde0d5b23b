import type { Database } from '../../cluster/client/database.js';
import type { errorpb, kvrpcpb, RegionBatch, troupepb } from '../../cluster/proto/index.js';
import { composeTimestamp } from '../../cluster/timestamp.js';
import { compareBytes, txnKey } from '../../storage/keys.js';
import { type Answer, ClientWorld, name, peersOf, refused } from './client-world.js';

type Kind = Exclude<keyof troupepb.RegionRequest & keyof troupepb.RegionResponse, `raw${string}`>;
type Request<K extends Kind> = NonNullable<troupepb.RegionRequest[K]>;
type Response<K extends Kind> = NonNullable<troupepb.RegionResponse[K]>;

/** How a store takes the `nth` request (from 1) of a kind. */
type Script<K extends Kind> = (
  request: Request<K>,
  nth: number,
) => Response<K> | 'silence' | { readonly regionError: Partial<errorpb.Error> };

/** Where nothing is said, a store that finds everything in order and nothing in the way. */
const WELL: { readonly [K in Kind]: Script<K> } = {
  get: () => ({ value: new Uint8Array(0), notFound: true }),
  batchGet: () => ({ pairs: [], answered: 0 }),
  scan: () => ({ pairs: [], more: false, lastKey: new Uint8Array(0) }),
  prewrite: () => ({ errors: [], minCommitTs: 0n, onePcCommitTs: 0n }),
  commit: ({ commitVersion }) => ({ commitVersion }),
  batchRollback: () => ({}),
  resolveLock: () => ({ nextKey: new Uint8Array(0) }),
  checkTxnStatus: () => ({ lockTtl: 0, commitVersion: 0n, action: 0 }),
  checkSecondaryLocks: () => ({ locks: [], commitTs: 0n }),
  txnHeartBeat: ({ adviseLockTtl }) => ({ lockTtl: adviseLockTtl }),
  scanLock: () => ({ locks: [], more: false, lastKey: new Uint8Array(0) }),
  gc: () => ({ nextKey: new Uint8Array(0) }),
  mvccGetByKey: () => ({ error: '', more: false }),
};

/** What a store was asked: kind, keys, and whatever the spec wants to look at. */
export interface AskedTxn {
  readonly kind: Kind;
  readonly regionId: number;
  readonly request: troupepb.RegionRequest;
}

/** Stores that answer transactional requests as the spec says. Time and the oracle's time are one. */
export class TxnWorld {
  readonly asked: AskedTxn[] = [];
  readonly script: { [K in Kind]?: Script<K> } = {};
  readonly #counts = new Map<string, number>();
  #logical = 0;

  private constructor(
    readonly world: ClientWorld,
    readonly db: Database,
  ) {
    world.script = ({ node, event }) => this.#answer(Number(node.slice('store-'.length)), event);
    world.tso = (count, reply) => {
      this.#logical += count;
      reply({
        count,
        timestamp: { physical: 1_700_000_000_000 + Math.floor(world.clock.now()), logical: this.#logical },
      });
    };
  }

  static async start(): Promise<TxnWorld> {
    const world = await ClientWorld.start();
    return new TxnWorld(world, await world.connect());
  }

  async close(): Promise<void> {
    await this.world.settle(this.db.close());
    await this.world.close();
  }

  settle<T>(promise: Promise<T>): Promise<T> {
    return this.world.settle(promise);
  }

  /** The error that a promise is rejected with. */
  async failure(promise: Promise<unknown>): Promise<{ code?: string; reason?: string; message: string }> {
    return this.settle(
      promise.then(
        () => ({ message: 'it was not rejected' }),
        (error) => error,
      ),
    );
  }

  /** A timestamp of so many milliseconds ago. */
  ago(ms: number): bigint {
    return composeTimestamp(1_700_000_000_000 + Math.floor(this.world.clock.now()) - ms, 0);
  }

  /** Cuts the transactional keys there, with a new version of every region. */
  cutAt(...keys: readonly string[]): void {
    const version = Math.max(...this.world.regions.map(({ regionEpoch }) => regionEpoch?.version ?? 0)) + 1;
    const bounds = [new Uint8Array(0), ...keys.map((key) => txnKey(Buffer.from(key))), new Uint8Array(0)];
    this.world.regions = bounds.slice(1).map((endKey, i) => ({
      id: i + 1,
      startKey: bounds[i] ?? endKey,
      endKey,
      regionEpoch: { confVer: 1, version },
      peers: peersOf(i + 1),
    }));
    for (const { id } of this.world.regions) this.world.leaders.set(id, 1);
  }

  /** Kinds in the order asked, each with its keys: `prewrite a b`. */
  get log(): string[] {
    return this.asked.map(({ kind, request }) => [kind, ...keysIn(request).map(name)].join(' '));
  }

  of<K extends Kind>(kind: K): Request<K>[] {
    return this.asked.flatMap(({ request }) => {
      const one = request[kind];
      return one === undefined ? [] : [one as Request<K>];
    });
  }

  #answer(storeId: number, { context, requests }: RegionBatch): Answer {
    const region = this.world.regions.find(({ id }) => id === context?.regionId);
    if (region === undefined) return refused({ regionNotFound: { regionId: context?.regionId ?? 0 } });
    if (this.world.leaders.get(region.id) !== storeId)
      return refused({ notLeader: { regionId: region.id, leader: this.world.leaderOf(region) } });
    if (context?.regionEpoch?.version !== region.regionEpoch?.version)
      return refused({ epochNotMatch: { currentRegions: this.world.regions } });
    const responses: troupepb.RegionResponse[] = [];
    for (const request of requests) {
      const kind = (Object.keys(WELL) as Kind[]).find((one) => request[one] !== undefined);
      if (kind === undefined) throw new Error('a request of no kind');
      for (const key of keysIn(request)) {
        const stored = txnKey(key);
        const inside =
          compareBytes(stored, region.startKey) >= 0 &&
          (region.endKey.length === 0 || compareBytes(stored, region.endKey) < 0);
        if (!inside) throw new Error(`${kind} of a key beyond region ${region.id}`);
      }
      this.asked.push({ kind, regionId: region.id, request });
      const answer = this.#one(kind, request);
      if (answer === 'silence') return 'silence';
      if ('regionError' in answer && answer.regionError !== undefined) return refused(answer.regionError);
      responses.push({ [kind]: answer });
    }
    return { regionError: undefined, responses };
  }

  #one<K extends Kind>(kind: K, request: troupepb.RegionRequest): ReturnType<Script<K>> {
    const nth = (this.#counts.get(kind) ?? 0) + 1;
    this.#counts.set(kind, nth);
    const script: Script<K> = this.script[kind] ?? WELL[kind];
    return script(request[kind] as Request<K>, nth) as ReturnType<Script<K>>;
  }
}

function keysIn(request: troupepb.RegionRequest): readonly Uint8Array[] {
  const { get, batchGet, prewrite, commit, batchRollback, resolveLock } = request;
  if (get !== undefined) return [get.key];
  if (prewrite !== undefined) return prewrite.mutations.map(({ key }) => key);
  if (request.checkTxnStatus !== undefined) return [request.checkTxnStatus.primaryKey];
  if (request.txnHeartBeat !== undefined) return [request.txnHeartBeat.primaryLock];
  return (batchGet ?? commit ?? batchRollback ?? resolveLock ?? request.checkSecondaryLocks)?.keys ?? [];
}

export function lockOn(key: string, startTs: bigint, more: Partial<kvrpcpb.LockInfo> = {}): kvrpcpb.LockInfo {
  return {
    key: Buffer.from(key),
    primaryLock: Buffer.from('primary'),
    lockVersion: startTs,
    lockTtl: 3_000,
    txnSize: 1,
    lockType: 0,
    lockForUpdateTs: 0n,
    useAsyncCommit: false,
    minCommitTs: 0n,
    secondaries: [],
    ...more,
  };
}

export function keyErrorOf(error: Partial<kvrpcpb.KeyError>): kvrpcpb.KeyError {
  return { retryable: '', abort: '', invalid: '', ...error };
}
