import { setup } from 'xstate';
import { ActorSystem, MemoryNetwork, type ReplyTo, seededRandom, VirtualClock } from '../../actors/index.js';
import type { Database } from '../../cluster/client/database.js';
import { type ConnectOptions, connect } from '../../cluster/client/index.js';
import { holds } from '../../cluster/client/region-search.js';
import type { errorpb, kvrpcpb, troupepb } from '../../cluster/proto/index.js';
import { pdpb } from '../../cluster/proto/index.js';
import { codecs, type ProtocolEvent, type RegionEvent } from '../../cluster/protocol.js';
import { emptyReply } from '../../cluster/scheduler/empty-replies.js';
import type { SchedulerKind } from '../../cluster/scheduler/service.js';
import { compareBytes, rawKey, rawRange } from '../../storage/keys.js';
import { metapb } from '../../storage/proto/index.js';

type Asked<E> = E & { readonly replyTo: ReplyTo; readonly address?: string };

/** An actor that hands every event to a function. */
const listener = setup({
  types: {
    context: {} as { handle: (event: unknown) => void },
    input: {} as { handle: (event: unknown) => void },
  },
}).createMachine({
  context: ({ input }) => input,
  on: { '*': { actions: ({ context, event }) => context.handle(event) } },
});

/** One batch as a store received it. */
export interface Received {
  readonly node: string;
  readonly at: number;
  readonly event: RegionEvent;
}

export type Answer = troupepb.RegionResponses | 'silence' | 'busy with it';

export type ChangeEvent = ProtocolEvent<'store.changeRegion'>;

/** What the scheduler last heard of a region's peers. */
export interface RegionReport {
  /** Store id. */
  readonly leader?: number | undefined;
  /** Peer ids. */
  readonly pending?: readonly number[];
  readonly down?: readonly number[];
  readonly size?: number;
  readonly keys?: number;
}

export const MAX_ENTRY_BYTES = 64 * 1024;

/**
 * A cluster that is all script: a scheduler actor and store actors on a memory network and virtual time, over one map
 * of keys. Regions and their leaders change when the spec says so; `script` may answer in a store's place.
 */
export class ClientWorld {
  readonly clock = new VirtualClock();
  readonly random: () => number;
  readonly network: MemoryNetwork;
  readonly data = new Map<string, Uint8Array>();
  readonly received: Received[] = [];
  /** How often each put, as `key=value`, took effect. */
  readonly served = new Map<string, number>();
  /** Requests to the scheduler, by kind. */
  readonly asked: string[] = [];
  stores: readonly metapb.Store[] = [1, 2, 3].map((id) => metapb.Store.from({ id, address: `store-${id}` }));
  /** What the stores serve. */
  regions: metapb.Region[];
  /** What the scheduler knows of them; where nothing is said, all. */
  known: readonly metapb.Region[] | undefined;
  readonly reports = new Map<number, RegionReport>();
  /** Store id of each region's leader. */
  readonly leaders = new Map<number, number>();
  /** How the scheduler takes a request for timestamps; where nothing is said, it counts. */
  tso: ((count: number, reply: (response: Partial<pdpb.TsoResponse>) => void) => void) | undefined;
  /** The last timestamp's count. */
  #timestamps = 0;
  /** Told of the seconds that a service wants its safe point held, 0 to let go of it. */
  safePointHeld: ((seconds: number) => void) | undefined;
  /** The scheduler answers nothing when false. */
  schedulerAnswers = true;
  script: ((received: Received, serve: () => Answer) => Answer) | undefined;
  /** How a store takes a change of a region. */
  change: ((node: string, event: ChangeEvent) => troupepb.ChangeRegionResponse | 'silence') | undefined;
  readonly #systems = new Map<string, ActorSystem>();
  #incarnation = 1;

  constructor(readonly seed = 1) {
    this.random = seededRandom(seed);
    this.network = new MemoryNetwork(this.clock, this.random, { delay: [0.2, 0.5] });
    this.regions = [region(1, '', '', 1)];
    this.leaders.set(1, 1);
  }

  static async start(seed?: number): Promise<ClientWorld> {
    const world = new ClientWorld(seed);
    await world.#node('scheduler-1', 'pd', (event) =>
      world.#scheduler(event as Asked<ProtocolEvent<SchedulerKind>>),
    );
    for (const node of ['store-1', 'store-2', 'store-3']) await world.startStore(node);
    return world;
  }

  /** Starts a store's process, again after a crash. */
  async startStore(node: string): Promise<void> {
    const system = await this.#node(node, 'store', (event) =>
      this.#store(node, event as Asked<RegionEvent> | Asked<ChangeEvent>),
    );
    system.fallback('region', 'store');
  }

  async connect(options: Partial<ConnectOptions> = {}): Promise<Database> {
    const name = 'client-1';
    const { clock, random } = this;
    return this.settle(
      connect({ cluster: 'spec', transport: this.network.transport(name), name, clock, random, ...options }),
    );
  }

  /** Lets virtual time pass until the promise is settled. */
  async settle<T>(promise: Promise<T>, limit = 60_000): Promise<T> {
    let settled = false;
    promise.then(
      () => {
        settled = true;
      },
      () => {
        settled = true;
      },
    );
    if (!(await this.clock.runUntil(() => settled, limit))) throw new Error(`not settled in ${limit} ms`);
    return promise;
  }

  async close(): Promise<void> {
    const closing = Promise.all([...this.#systems.values()].map((system) => system.close()));
    await this.settle(closing);
  }

  /** Splits the region that holds `key` there; the new right part is led by `leader`. */
  split(key: string, leader: number): void {
    const at = rawKey(Buffer.from(key));
    const old = this.regionOf(at);
    const version = (old.regionEpoch?.version ?? 0) + 1;
    const epoch = { confVer: 1, version };
    const id = Math.max(...this.regions.map((one) => one.id)) + 1;
    const left = { ...old, endKey: at, regionEpoch: epoch };
    const right = { ...old, id, startKey: at, regionEpoch: epoch, peers: peersOf(id) };
    this.regions = this.regions.flatMap((one) => (one.id === old.id ? [left, right] : [one]));
    this.leaders.set(id, leader);
  }

  regionOf(stored: Uint8Array): metapb.Region {
    const found = this.regions.find((one) => holds(one, stored));
    if (found === undefined) throw new Error('no region holds the key');
    return found;
  }

  /** Requests of all batches received so far, in order. */
  requests(type: 'read' | 'write'): troupepb.RegionRequest[] {
    return this.received.filter(({ event }) => event.type === type).flatMap(({ event }) => event.requests);
  }

  async #node(node: string, path: string, handle: (event: unknown) => void): Promise<ActorSystem> {
    const { clock, random } = this;
    const transport = this.network.transport(node);
    const starting = ActorSystem.start({
      cluster: 'spec',
      node,
      role: 'server',
      incarnation: this.#incarnation++,
      transport,
      clock,
      random,
      codecs: 'registered-only',
    });
    const system = await this.settle(starting);
    for (const [kind, codec] of codecs) system.registerCodec(kind, codec);
    system.spawn(listener, { path, input: { handle } });
    this.#systems.set(node, system);
    return system;
  }

  #scheduler(event: Asked<ProtocolEvent<SchedulerKind>>): void {
    this.asked.push(event.type);
    if (event.type === 'pd.updateServiceGCSafePoint') this.safePointHeld?.(event.TTL);
    if (!this.schedulerAnswers) return;
    const header: pdpb.ResponseHeader = { clusterId: 7, error: undefined };
    if (event.type === 'pd.bootstrapInfo') {
      const reply = {
        bootstrapped: true,
        maxEntryBytes: MAX_ENTRY_BYTES,
        expectedStores: 3,
        registeredStores: 3,
      };
      event.replyTo.send({ ...reply, header, cluster: 'spec' });
    } else if (event.type === 'pd.tso') {
      const reply = (response: Partial<pdpb.TsoResponse>) =>
        event.replyTo.send(pdpb.TsoResponse.from({ header, ...response }));
      if (this.tso === undefined) reply(this.takeTimestamps(event.count));
      else this.tso(event.count, reply);
    } else if (event.type === 'pd.getAllStores') {
      event.replyTo.send({ header, stores: this.stores });
    } else if (event.type === 'pd.scanRegions') {
      const regions = (this.known ?? this.regions)
        .filter((one) => one.endKey.length === 0 || compareBytes(one.endKey, event.startKey) > 0)
        .slice(0, event.limit || 1000)
        .map((one) => this.#told(one));
      event.replyTo.send({ header, regions });
    } else if (event.type === 'pd.getRegion' || event.type === 'pd.getRegionById') {
      const found = (this.known ?? this.regions).find((one) =>
        event.type === 'pd.getRegion' ? holds(one, event.regionKey) : one.id === event.regionId,
      );
      event.replyTo.send({ ...pdpb.Region.from(found === undefined ? {} : this.#told(found)), header });
    } else {
      event.replyTo.send(emptyReply[event.type](header));
    }
  }

  /** The reply of a scheduler that counts. */
  takeTimestamps(count: number): Pick<pdpb.TsoResponse, 'count' | 'timestamp'> {
    this.#timestamps += count;
    return { count, timestamp: { physical: 1_700_000_000_000, logical: this.#timestamps } };
  }

  #told(region: metapb.Region): pdpb.Region {
    const report = this.reports.get(region.id);
    const { pending = [], down = [], size = 0, keys = 0 } = report ?? {};
    const peer = (id: number) => region.peers.find((one) => one.id === id);
    const leaderStore =
      report !== undefined && 'leader' in report ? report.leader : this.leaders.get(region.id);
    return {
      region,
      leader: region.peers.find(({ storeId }) => storeId === leaderStore),
      pendingPeers: pending.flatMap((id) => peer(id) ?? []),
      downPeers: down.map((id) => ({ peer: peer(id), downSeconds: 60 })),
      approximateSize: size,
      approximateKeys: keys,
    };
  }

  leaderOf(one: metapb.Region): metapb.Peer | undefined {
    return one.peers.find((peer) => peer.storeId === this.leaders.get(one.id));
  }

  #store(node: string, event: Asked<RegionEvent> | Asked<ChangeEvent>): void {
    if (event.type === 'store.changeRegion') {
      const answer = this.change?.(node, event) ?? 'silence';
      if (answer !== 'silence') event.replyTo.send(answer);
      return;
    }
    const received = { node, at: this.clock.now(), event };
    this.received.push(received);
    const serve = () => this.#serve(Number(node.slice('store-'.length)), event);
    const answer = this.script === undefined ? serve() : this.script(received, serve);
    if (typeof answer !== 'string') event.replyTo.send(answer);
  }

  /** What a correct store answers. */
  #serve(storeId: number, { context, requests }: RegionEvent): troupepb.RegionResponses {
    const one = this.regions.find(({ id }) => id === context.regionId);
    if (one === undefined) return refused({ regionNotFound: { regionId: context.regionId } });
    if (this.leaders.get(one.id) !== storeId) {
      return refused({ notLeader: { regionId: one.id, leader: this.leaderOf(one) } });
    }
    if (context.regionEpoch?.version !== one.regionEpoch?.version) {
      return refused({ epochNotMatch: { currentRegions: this.regions } });
    }
    const responses = requests.map((request) => this.#evaluate(request, one));
    return { regionError: undefined, responses };
  }

  #evaluate(request: troupepb.RegionRequest, one: metapb.Region): troupepb.RegionResponse {
    const { rawGet, rawPut, rawDelete, rawScan, rawDeleteRange, rawCompareAndSwap: swap } = request;
    const error = '';
    const regionError = undefined;
    if (rawGet !== undefined) {
      const value = this.data.get(name(rawGet.key));
      return { rawGet: { regionError, error, value: value ?? NO_BYTES, notFound: value === undefined } };
    }
    if (rawPut !== undefined) {
      this.data.set(name(rawPut.key), rawPut.value);
      const id = `${name(rawPut.key)}=${name(rawPut.value)}`;
      this.served.set(id, (this.served.get(id) ?? 0) + 1);
      return { rawPut: { regionError, error } };
    }
    if (rawDelete !== undefined) {
      this.data.delete(name(rawDelete.key));
      return { rawDelete: { regionError, error } };
    }
    if (swap !== undefined) {
      const previous = this.data.get(name(swap.key));
      const same = previous !== undefined && compareBytes(previous, swap.previousValue) === 0;
      const succeed = swap.previousNotExist ? previous === undefined : same;
      if (succeed) this.data.set(name(swap.key), swap.value);
      const previousValue = previous ?? NO_BYTES;
      return {
        rawCompareAndSwap: {
          regionError,
          error,
          succeed,
          previousNotExist: previous === undefined,
          previousValue,
        },
      };
    }
    if (rawDeleteRange !== undefined) {
      for (const [key] of this.#range(rawDeleteRange.startKey, rawDeleteRange.endKey, one))
        this.data.delete(name(key));
      return { rawDeleteRange: { regionError, error } };
    }
    if (rawScan === undefined) throw new Error('a request of no kind');
    const { startKey, endKey, reverse, limit, keyOnly } = rawScan;
    const pairs = reverse ? this.#range(endKey, startKey, one).reverse() : this.#range(startKey, endKey, one);
    const kvs: kvrpcpb.KvPair[] = pairs
      .slice(0, limit)
      .map(([key, value]) => ({ key, value: keyOnly ? NO_BYTES : value }));
    return { rawScan: { regionError, error, kvs, more: kvs.length < pairs.length } };
  }

  #range(start: Uint8Array, end: Uint8Array, one: metapb.Region): [Uint8Array, Uint8Array][] {
    const range = rawRange(start, end);
    const outside =
      compareBytes(range.start, one.startKey) < 0 ||
      (one.endKey.length > 0 && compareBytes(range.end, one.endKey) > 0);
    if (outside) throw new Error(`a range beyond region ${one.id}`);
    return [...this.data]
      .map(([key, value]): [Uint8Array, Uint8Array] => [Buffer.from(key, 'latin1'), value])
      .filter(
        ([key]) => compareBytes(rawKey(key), range.start) >= 0 && compareBytes(rawKey(key), range.end) < 0,
      )
      .sort(([a], [b]) => compareBytes(a, b));
  }
}

const NO_BYTES = new Uint8Array(0);

export function refused(detail: Partial<errorpb.Error>): troupepb.RegionResponses {
  return { regionError: { message: 'refused by the script', ...detail } as errorpb.Error, responses: [] };
}

export function peersOf(regionId: number): metapb.Peer[] {
  return [1, 2, 3].map((storeId) => ({ id: regionId * 10 + storeId, storeId, role: metapb.PeerRole.Voter }));
}

export function region(id: number, start: string, end: string, version: number): metapb.Region {
  return {
    id,
    startKey: start === '' ? NO_BYTES : rawKey(Buffer.from(start)),
    endKey: end === '' ? NO_BYTES : rawKey(Buffer.from(end)),
    regionEpoch: { confVer: 1, version },
    peers: peersOf(id),
  };
}

export function name(key: Uint8Array): string {
  return Buffer.from(key).toString('latin1');
}

export function text(bytes: Uint8Array | undefined): string | undefined {
  return bytes === undefined ? undefined : Buffer.from(bytes).toString();
}
