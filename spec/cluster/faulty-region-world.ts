import { expect } from 'chai';
import type { ReplyTo } from '../../actors/index.js';
import type { troupepb } from '../../cluster/proto/index.js';
import type { RegionEvent } from '../../cluster/protocol.js';
import { sameRegion } from '../../cluster/region-tree.js';
import type { RegionReplica } from '../../cluster/store/replica.js';
import type { StoreTuning } from '../../cluster/store/tuning.js';
import { loadRegionState, rawKey, SNAPSHOT_FAMILIES } from '../../storage/index.js';
import { compareBytes, equalBytes } from '../../storage/keys.js';
import {
  decodeRaftEvent,
  type metapb,
  type RaftEvent,
  raft_cmdpb,
  raft_serverpb,
} from '../../storage/proto/index.js';
import { QUICK, RegionWorld } from './region-world.js';

/** Milliseconds of virtual time within which anything that is waited for must come. */
const PATIENCE_MS = 60_000;

/** A Raft message between two stores. */
export interface RaftOnTheWay {
  /** Names of the nodes. */
  readonly from: string;
  readonly to: string;
  readonly event: RaftEvent;
}

/** A name of a store by its number: stores get their ids in the order of their start. */
export const storeName = (number: number): string => `store-${number}`;

/** A cluster whose links lose what a spec chooses, and whose stores lose power and come back. */
export class FaultyRegionWorld extends RegionWorld {
  static override async start(
    stores: number,
    first = stores,
    tuning: StoreTuning = QUICK,
  ): Promise<FaultyRegionWorld> {
    const world = new FaultyRegionWorld();
    await world.scheduler(first);
    for (let i = 1; i <= stores; i++) await world.startStore(storeName(i), tuning);
    world.database = await world.client();
    await world.eventually('a leader', (status) => status.regions.every(({ leader }) => leader !== null));
    return world;
  }

  /** Lets time pass until something holds, and looks after every event. */
  async when(what: string, holds: () => boolean): Promise<void> {
    const came = await this.clock.runUntil(() => this.errors.length > 0 || holds(), PATIENCE_MS);
    if (this.errors.length > 0) throw new Error(`${what}: ${this.errors.join('\n')}`);
    if (!came) throw new Error(`${what} did not come: ${this.describe()}`);
  }

  /** The same for what has to be read first. */
  async whenRead(what: string, holds: () => Promise<boolean>): Promise<void> {
    const deadline = this.clock.now() + PATIENCE_MS;
    while (!(await this.until(holds()))) {
      if (this.errors.length > 0) throw new Error(`${what}: ${this.errors.join('\n')}`);
      if (this.clock.now() > deadline) throw new Error(`${what} did not come: ${this.describe()}`);
      await this.rest(50);
    }
  }

  /** Takes out the Raft messages that `lost` chooses. @returns how to stop */
  lose(lost: (message: RaftOnTheWay) => boolean): () => void {
    return this.network.filterEnvelopes(({ from, to }, { kind, body }) => {
      return kind !== 'raft' || !lost({ from, to, event: decodeRaftEvent(body) });
    });
  }

  /** Takes out the notices outside of Raft that `lost` chooses. @returns how to stop */
  loseNotices(lost: (notice: raft_serverpb.RaftMessage, to: string) => boolean): () => void {
    return this.network.filterEnvelopes(({ to }, { kind, body }) => {
      return kind !== 'store.peerNotice' || !lost(raft_serverpb.RaftMessage.decode(body), to);
    });
  }

  /** Asks a peer as a client does, whoever leads. */
  async askRegion(
    region: number,
    store: number,
    request: troupepb.RegionRequest,
    regionEpoch = this.peer(region, store).region.regionEpoch,
  ): Promise<troupepb.RegionResponses> {
    const isRead = request.rawGet !== undefined || request.rawScan !== undefined;
    return this.ask(`${storeName(store)}/region/${region}/peer/${this.peer(region, store).peerId}`, {
      type: isRead ? 'read' : 'write',
      context: { regionId: region, regionEpoch, peer: undefined, term: 0 },
      requests: [request],
    });
  }

  /** Gives a write to a peer of this process; `done` hears what came of it. */
  write(
    region: number,
    store: number,
    request: troupepb.RegionRequest,
    done: (reply: troupepb.RegionResponses) => void,
  ): void {
    const replica = this.peer(region, store);
    const event: RegionEvent & { replyTo: Pick<ReplyTo<troupepb.RegionResponses>, 'send'> } = {
      type: 'write',
      context: { regionId: region, regionEpoch: replica.region.regionEpoch, peer: undefined, term: 0 },
      requests: [request],
      replyTo: {
        send: (reply) => {
          done(reply);
          return true;
        },
      },
    };
    replica.proposeWrite(event);
  }

  /** The store hears no other store and none hears it; the scheduler and clients do. @returns how to stop */
  isolate(...numbers: readonly number[]): () => void {
    const names = numbers.map(storeName);
    const isStore = (name: string) => name.startsWith('store-');
    return this.network.filter(
      ({ from, to }) => !isStore(from) || !isStore(to) || names.includes(from) === names.includes(to),
    );
  }

  /** The power of a store fails; it does not come back by itself. */
  cut(number: number): void {
    const name = storeName(number);
    this.stores.delete(name);
    this.lives.set(name, (this.lives.get(name) ?? 0) + 1);
    this.crash(name);
    this.latencies.delete(name);
  }

  async restart(number: number, tuning: StoreTuning = QUICK): Promise<void> {
    if (this.stores.has(storeName(number))) this.cut(number);
    await this.startStore(storeName(number), tuning);
  }

  /** The region's replica on a store. */
  replica(region: number, store: number): RegionReplica | undefined {
    return this.stores.get(storeName(store))?.replicas.get(region);
  }

  /** The same, where it must be. */
  peer(region: number, store: number): RegionReplica {
    const found = this.replica(region, store);
    if (found === undefined) throw new Error(`region ${region} is not on store ${store}: ${this.describe()}`);
    return found;
  }

  /** Number of the store that leads a region; 0 for none. Where several think so, the one of the newest term. */
  leaderOf(region: number): number {
    let leader = 0;
    let term = 0;
    for (const [name, { replicas }] of this.stores) {
      const replica = replicas.get(region);
      if (!replica?.attached || !replica.group.isLeader || replica.group.term <= term) continue;
      term = replica.group.term;
      leader = Number(name.slice('store-'.length));
    }
    return leader;
  }

  override leaderRegion(id: number): metapb.Region {
    const leader = this.leaderOf(id);
    if (leader === 0) throw new Error(`region ${id} has no leader`);
    return this.peer(id, leader).region;
  }

  /** Moves leadership, and waits until the new leader can be asked. */
  async lead(region: number, store: number): Promise<void> {
    if (this.leaderOf(region) !== store) await this.transfer(region, store);
    await this.when(`store ${store} to lead region ${region}`, () => {
      const group = this.replica(region, store)?.raftGroup;
      return this.leaderOf(region) === store && group?.appliedInTerm === true;
    });
  }

  /** The source's PrepareMerge is applied by its leader; what comes of it is not waited for. */
  async prepareMerge(source: number, target: metapb.Region): Promise<void> {
    const prepareMerge = { minIndex: 0, target };
    await this.must(source, { cmdType: raft_cmdpb.AdminCmdType.PrepareMerge, prepareMerge });
  }

  /** All members have the region's whole log, know that it is committed, and have said so. */
  async informed(region: number): Promise<void> {
    await this.when(`members of region ${region} that know all`, () => {
      const status = this.peer(region, this.leaderOf(region)).raftGroup?.status();
      const members = [...(status?.progress.values() ?? [])];
      return members.every(({ knownCommit, match }) => Math.min(knownCommit, match) === status?.lastIndex);
    });
  }

  /** Writes until the log of a region no longer holds what a store lacks. */
  async outrun(region: number, store: number, key: string): Promise<void> {
    const lacks = (this.replica(region, store)?.raftGroup?.raft.lastIndex ?? 0) + 1;
    const isCut = () =>
      (this.peer(region, this.leaderOf(region)).raftGroup?.status().firstIndex ?? 0) > lacks;
    for (let i = 0; i < 200 && !isCut(); i++) {
      await this.put(`${key}${i}`, 'x');
      await this.rest(50);
    }
    await this.when(`a log without what store ${store} lacks`, isCut);
  }

  /** The disk of a store does not come to the end of anything; it is as before when the store has restarted. */
  hangDisk(store: number): void {
    this.latencies.set(storeName(store), Number.MAX_SAFE_INTEGER);
  }

  /** Calls back once when a store's disk has taken `count` more writes. @returns how to call that off */
  onWrite(store: number, count: number, then: () => void): () => void {
    const disk = this.disk(storeName(store));
    const { applied } = disk;
    let left = count;
    let off = false;
    disk.applied = (batches, families) => {
      applied.call(disk, batches, families);
      if (--left === 0) this.clock.immediate(() => off || then());
    };
    return () => {
      off = true;
    };
  }

  /** What a store has on disk for a raw key, whatever its regions are. */
  async stored(store: number, key: string): Promise<boolean> {
    const engine = this.engines.get(storeName(store));
    return (await engine?.get('default', rawKey(Buffer.from(key)))) !== undefined;
  }

  /** Regions of a store by their ids. */
  regionsOn(store: number): number[] {
    return [...(this.stores.get(storeName(store))?.replicas.keys() ?? [])].sort((a, b) => a - b);
  }

  /**
   * Waits until the cluster is of one mind, and compares: regions cover all keys once, each has exactly its peers on their
   * stores, in memory and on disk, all with the same data, and no store has data that is in no region of it.
   */
  async settle(): Promise<void> {
    await this.when('one state of all replicas', () => this.#discord() === undefined);
    for (const [name, store] of this.stores) {
      const engine = this.engines.get(name);
      if (engine === undefined) throw new Error(`no engine of ${name}`);
      for (const { region, raftGroup: group } of store.replicas.values()) {
        await this.whenRead(`region ${region.id} on the disk of ${name}`, async () => {
          const disk = await loadRegionState(engine, region.id);
          return (
            disk?.state === raft_serverpb.PeerState.Normal &&
            disk.region !== undefined &&
            sameRegion(disk.region, region)
          );
        });
        expect(group?.applied, `applied of region ${region.id} on ${name}`).to.be.greaterThan(0);
      }
    }
    await this.#compareData();
  }

  async #compareData(): Promise<void> {
    const all = await this.until(Promise.all([...this.stores.keys()].map((name) => this.#read(name))));
    const names = [...this.stores.keys()];
    for (const region of this.#regions()) {
      const [first, ...others] = region.peers.map(({ storeId }) => {
        const place = names.indexOf(this.storeWithId(storeId).name);
        return all[place]?.filter(({ key }) => contains(region, key)) ?? [];
      });
      for (const other of others)
        expect(text(other), `data of region ${region.id}`).to.equal(text(first ?? []));
    }
    for (const [place, name] of names.entries()) {
      const regions = [...(this.stores.get(name)?.replicas.values() ?? [])].map((one) => one.region);
      const stray = all[place]?.filter(({ key }) => !regions.some((region) => contains(region, key))) ?? [];
      expect(text(stray), `data of no region on ${name}`).to.equal('');
    }
  }

  async #read(
    name: string,
  ): Promise<{ readonly cf: string; readonly key: Uint8Array; readonly value: Uint8Array }[]> {
    const engine = this.engines.get(name);
    const pairs: { cf: string; key: Uint8Array; value: Uint8Array }[] = [];
    const none = new Uint8Array(0);
    for (const cf of SNAPSHOT_FAMILIES) {
      const page = await engine?.scan(cf, { start: none, end: none, limit: 100_000 });
      for (const [i, key] of page?.keys.entries() ?? [])
        pairs.push({ cf, key, value: page?.values[i] ?? none });
    }
    return pairs;
  }

  /** Led regions, in order of their keys. */
  #regions(): metapb.Region[] {
    const ids = new Set([...this.stores.values()].flatMap(({ replicas }) => [...replicas.keys()]));
    const led = [...ids].filter((id) => this.leaderOf(id) > 0).map((id) => this.leaderRegion(id));
    return led.sort((a, b) => compareBytes(a.startKey, b.startKey));
  }

  /** Why the cluster is not of one mind. */
  #discord(): string | undefined {
    const regions = this.#regions();
    let end: Uint8Array = new Uint8Array(0);
    for (const [i, { id, startKey, endKey }] of regions.entries()) {
      if (!equalBytes(startKey, end) || (i > 0 && startKey.length === 0)) return `a gap before region ${id}`;
      end = endKey;
    }
    if (regions.length === 0 || end.length > 0) return 'no region at the end';
    for (const region of regions) {
      const leader = this.peer(region.id, this.leaderOf(region.id));
      for (const { id, storeId } of region.peers) {
        const store = [...this.stores.values()].find((one) => one.storeId === storeId);
        const replica = store?.replicas.get(region.id);
        if (replica?.peerId !== id || !replica.attached)
          return `peer ${id} of region ${region.id} is not there`;
        const { raftGroup: group, mergeState } = replica;
        if (!sameRegion(replica.region, region)) return `peer ${id} of region ${region.id} is behind`;
        if (group === undefined || replica.stopped) return `peer ${id} of region ${region.id} has stopped`;
        if (mergeState !== undefined) return `region ${region.id} is being merged`;
        if (group.applied !== leader.raftGroup?.applied || group.applied !== group.raft.lastIndex)
          return `peer ${id} of region ${region.id} has not applied all`;
        if (group.leader !== leader.peerId)
          return `peer ${id} of region ${region.id} does not know its leader`;
      }
    }
    for (const [name, { replicas, storeId }] of this.stores) {
      for (const id of replicas.keys()) {
        const region = regions.find((one) => one.id === id);
        if (!region?.peers.some((peer) => peer.storeId === storeId))
          return `region ${id} is still on ${name}`;
      }
    }
    return undefined;
  }

  describe(): string {
    const lines = [...this.stores].flatMap(([name, { replicas }]) =>
      [...replicas.values()].map((replica) => {
        const { region, peerId, mergeState, raftGroup: group } = replica;
        const epoch = `${region.regionEpoch?.confVer}/${region.regionEpoch?.version}`;
        const range = `[${Buffer.from(region.startKey)}, ${Buffer.from(region.endKey)})`;
        const status = group?.status();
        const state = `${status?.role} of ${group?.leader} in term ${status?.term}, ${status?.applied}/${status?.commit}/${status?.lastIndex}`;
        const peers = region.peers.map(({ id, storeId, role }) => `${id}@${storeId}:${role}`).join(' ');
        return `${name}: region ${region.id} ${epoch} ${range} peer ${peerId} of [${peers}]: ${state}${replica.stopped ? ', stopped' : ''}${mergeState === undefined ? '' : `, merging into ${mergeState.target?.id} at ${mergeState.commit}`}`;
      }),
    );
    return `${this.#discord() ?? 'all agree'}\n${lines.join('\n')}`;
  }

  override async close(): Promise<void> {
    await this.settle();
    await super.close();
  }
}

export const putRequest = (key: string, value: string): troupepb.RegionRequest => ({
  rawPut: { key: Buffer.from(key), value: Buffer.from(value), cf: '' },
});
export const getRequest = (key: string): troupepb.RegionRequest => ({
  rawGet: { key: Buffer.from(key), cf: '' },
});
export const scanRequest = (startKey: string, endKey: string): troupepb.RegionRequest => ({
  rawScan: {
    startKey: Buffer.from(startKey),
    endKey: Buffer.from(endKey),
    limit: 100,
    keyOnly: true,
    cf: '',
    reverse: false,
  },
});

function contains({ startKey, endKey }: metapb.Region, key: Uint8Array): boolean {
  return compareBytes(startKey, key) <= 0 && (endKey.length === 0 || compareBytes(key, endKey) < 0);
}

function text(
  pairs: readonly { readonly cf: string; readonly key: Uint8Array; readonly value: Uint8Array }[],
): string {
  return pairs
    .map(
      ({ cf, key, value }) =>
        `${cf} ${Buffer.from(key).toString('latin1')}=${Buffer.from(value).toString('hex')}`,
    )
    .join('\n');
}
