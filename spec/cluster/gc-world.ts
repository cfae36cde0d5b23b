import type { Database } from '../../cluster/client/database.js';
import { SchedulerClient } from '../../cluster/pd-client.js';
import type { troupepb } from '../../cluster/proto/index.js';
import { peerPath } from '../../cluster/protocol.js';
import type { StoreNode } from '../../cluster/store/index.js';
import { txnKey } from '../../storage/index.js';
import { StoreWorld } from './store-world.js';

const TIMEOUT = { timeout: 30_000 };

/** A cluster whose old versions live for a minute, on virtual time. */
export class GcWorld extends StoreWorld {
  readonly stores: StoreNode[] = [];
  #database: Database | undefined;
  #scheduler: SchedulerClient | undefined;

  static async start(stores: number): Promise<GcWorld> {
    const world = new GcWorld();
    await world.scheduler(stores);
    for (let i = 1; i <= stores; i++) world.stores.push(await world.store(`store-${i}`));
    world.#database = await world.client();
    const { clock, random } = world;
    const system = await world.bareSystem('client-7');
    world.#scheduler = new SchedulerClient({
      system,
      cluster: 'spec',
      schedulers: ['scheduler-1'],
      clock,
      random,
    });
    await world.until(world.db.transaction((txn) => txn.put('first', 'v')));
    for (const [name, value] of [
      ['gc-life-time', '1m'],
      ['gc-interval', '10s'],
    ] as const)
      await world.until(world.pd.steerPlacement({ setting: { name, value } }, TIMEOUT));
    return world;
  }

  get db(): Database {
    if (this.#database === undefined) throw new Error('no client');
    return this.#database;
  }

  get pd(): SchedulerClient {
    if (this.#scheduler === undefined) throw new Error('no scheduler client');
    return this.#scheduler;
  }

  put(key: string, value: string): Promise<unknown> {
    return this.until(this.db.transaction((txn) => txn.put(key, value), TIMEOUT));
  }

  delete(key: string): Promise<unknown> {
    return this.until(this.db.transaction((txn) => txn.delete(key), TIMEOUT));
  }

  now(): Promise<bigint> {
    return this.until(this.pd.timestamps(1, TIMEOUT));
  }

  /** Everything that is visible at a timestamp, by scan. */
  async at(timestamp: bigint): Promise<Record<string, string>> {
    const view = await this.until(this.db.snapshot({ at: timestamp, ...TIMEOUT }));
    const found: Record<string, string> = {};
    try {
      const scan = view.scan();
      for (;;) {
        const next = await this.until(scan.next());
        if (next.done === true) return found;
        found[Buffer.from(next.value.key).toString()] = Buffer.from(next.value.value).toString();
      }
    } finally {
      await this.until(view.close());
    }
  }

  /** Kinds of a key's records, the newest first. */
  async records(key: string): Promise<string> {
    const { lock, versions } = await this.until(this.db.versions(key, TIMEOUT));
    return [...(lock ? ['locked'] : []), ...versions.map(({ kind }) => kind)].join(' ');
  }

  /** Sends one request to the leader of the region of a key, as a client would. */
  async send(key: string, request: troupepb.RegionRequest): Promise<troupepb.RegionResponse> {
    for (let tries = 0; tries < 100; tries++) {
      const { region, leader } = await this.until(this.pd.getRegion(txnKey(Buffer.from(key)), TIMEOUT));
      if (region !== undefined && leader !== undefined) {
        const context = { regionId: region.id, regionEpoch: region.regionEpoch, peer: undefined, term: 0 };
        const type = request.get === undefined ? 'write' : 'read';
        const event = { type, context, requests: [request] };
        const node = this.stores.find(({ storeId }) => storeId === leader.storeId)?.name ?? '';
        const address = `${node}/${peerPath(region.id, leader.id)}`;
        const reply = await this.ask<troupepb.RegionResponses>(address, event);
        const [response] = reply.responses;
        if (reply.regionError === undefined && response !== undefined) return response;
      }
      await this.clock.advance(100);
    }
    throw new Error(`nobody serves ${key}`);
  }

  async pass(ms: number): Promise<void> {
    await this.clock.advance(ms);
  }

  /** Lets time pass until versions up to `timestamp` may be gone, and are. */
  async collected(timestamp: bigint): Promise<void> {
    for (let seconds = 0; seconds < 300; seconds++) {
      const { gc } = await this.until(this.pd.safePoints(TIMEOUT));
      if (gc >= timestamp) return this.pass(5_000);
      await this.pass(1_000);
    }
    throw new Error('the GC safe point was not raised');
  }

  async close(): Promise<void> {
    await this.until(this.db.close());
    for (const store of this.stores) await this.until(store.close());
  }
}
