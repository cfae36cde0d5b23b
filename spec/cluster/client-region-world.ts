import { expect } from 'chai';
import { TroupeError } from '../../cluster/errors.js';
import type { RegionInfo } from '../../cluster/index.js';
import { errorpb, troupepb } from '../../cluster/proto/index.js';
import { compareBytes } from '../../storage/keys.js';
import { eraftpb, metapb, type raft_cmdpb } from '../../storage/proto/index.js';
import { type ChangeEvent, ClientWorld, region } from './client-world.js';

const { Voter, Learner, IncomingVoter, DemotingVoter } = metapb.PeerRole;
const { AddNode, RemoveNode } = eraftpb.ConfChangeType;

type Reply = troupepb.ChangeRegionResponse;

/** One request as a store received it. */
export interface ReceivedChange {
  readonly node: string;
  readonly at: number;
  readonly event: ChangeEvent;
}

/**
 * Stores that change their regions as they should, and a scheduler that hears of it a little later. Region 7 has voters on
 * the stores 1 to 3, of which store 1 leads; stores 4 and 5 are empty, store 6 has left.
 */
export class RegionWorld {
  readonly received: ReceivedChange[] = [];
  /** Milliseconds after which the scheduler hears of a change. */
  lag = 20;
  /** Milliseconds after which a new peer has caught up. */
  catchUp = 300;
  /** Milliseconds that a transfer of leadership takes; 0 for one that comes to nothing. */
  handOver = 50;
  /** How a merge ends that was prepared. */
  mergeEnds: 'merged' | 'rolled back' | 'never' = 'merged';
  /** What is answered instead, request by request; `undefined` leaves one to the store. */
  readonly answers: (((serve: () => Reply) => Reply | 'silence') | undefined)[] = [];
  readonly #world: ClientWorld;
  #nextId = 100;

  constructor(world: ClientWorld) {
    this.#world = world;
    world.stores = [1, 2, 3, 4, 5, 6].map((id) =>
      metapb.Store.from({
        id,
        address: `store-${id}`,
        state: id === 6 ? metapb.StoreState.Tombstone : metapb.StoreState.Up,
      }),
    );
    this.set([region(7, '', '', 5)]);
    world.leaders.set(7, 1);
    this.tell();
    world.change = (node, event) => {
      this.received.push({ node, at: world.clock.now(), event });
      const serve = () => this.#serve(Number(node.slice('store-'.length)), event);
      const answer = this.answers.shift();
      return answer === undefined ? serve() : answer(serve);
    };
  }

  static async start(): Promise<{ world: ClientWorld; regions: RegionWorld }> {
    const world = await ClientWorld.start();
    for (const node of ['store-4', 'store-5', 'store-6']) await world.startStore(node);
    return { world, regions: new RegionWorld(world) };
  }

  /** Region `id` as its leader has it. */
  region(id: number): metapb.Region | undefined {
    return this.#world.regions.find((one) => one.id === id);
  }

  /** Puts regions in the place of what they overlap. */
  set(regions: readonly metapb.Region[]): void {
    const ids = new Set(regions.map(({ id }) => id));
    this.#world.regions = [
      ...this.#world.regions.filter(({ id }) => !ids.has(id) && id !== 1),
      ...regions,
    ].sort((a, b) => compareBytes(a.startKey, b.startKey));
  }

  /** The scheduler hears how things stand now. */
  tell(): void {
    this.#world.known = this.#world.regions;
    for (const { id } of this.#world.regions) {
      const leader = this.#world.leaders.get(id);
      this.#world.reports.set(id, { ...this.#world.reports.get(id), leader });
    }
  }

  /** The region is so, and the scheduler knows it. */
  given(one: metapb.Region): void {
    this.set([one]);
    this.tell();
  }

  /** The error that a call ends with. */
  async failureOf(promise: Promise<unknown>): Promise<TroupeError> {
    const error = await this.#world.settle(promise).then(
      (value) => expect.fail(`it succeeded with ${JSON.stringify(value)}`),
      (cause: unknown) => cause,
    );
    expect(error).to.be.instanceOf(TroupeError);
    return error as TroupeError;
  }

  /** What was asked, in short: `split`, `+4 learner`, `-1`, `joint`, `leave`, `lead 2`, `merge`. */
  get asked(): string[] {
    return this.received.map(({ event }) => inShort(event.command));
  }

  #later(ms: number, what: () => void): void {
    this.#world.clock.setTimeout(what, ms);
  }

  #serve(storeId: number, { context, command, halve }: ChangeEvent): Reply {
    const { leaders } = this.#world;
    const found = this.region(context?.regionId ?? 0);
    if (found === undefined) return wrong({ regionNotFound: { regionId: context?.regionId ?? 0 } });
    if (leaders.get(found.id) !== storeId) {
      return wrong({ notLeader: { regionId: found.id, leader: this.#world.leaderOf(found) } });
    }
    const [asked, own] = [context?.regionEpoch, epoch(found)];
    const split = command?.splits !== undefined || command?.prepareMerge !== undefined;
    const member = split || command?.changePeerV2 !== undefined;
    if ((split && asked?.version !== own.version) || (member && asked?.confVer !== own.confVer)) {
      return wrong({ epochNotMatch: { currentRegions: this.#world.regions } });
    }
    const regions = this.#carryOut(found, command, halve);
    this.#later(this.lag, () => this.tell());
    return troupepb.ChangeRegionResponse.from({ regions });
  }

  #carryOut(
    found: metapb.Region,
    command: raft_cmdpb.AdminRequest | undefined,
    halve: boolean,
  ): metapb.Region[] {
    if (command?.splits !== undefined) {
      const keys = command.splits.requests.map(({ splitKey }) => splitKey);
      return this.#split(found, halve ? [Buffer.from('rhalf')] : keys);
    }
    if (command?.changePeerV2 !== undefined) return [this.#changePeers(found, command.changePeerV2.changes)];
    if (command?.transferLeader !== undefined) {
      const { storeId = 0 } = command.transferLeader.peer ?? {};
      if (this.handOver > 0) {
        this.#later(this.handOver, () => {
          this.#world.leaders.set(found.id, storeId);
          this.tell();
        });
      }
      return [found];
    }
    const target = command?.prepareMerge?.target;
    return target === undefined ? [] : [this.#merge(found, target)];
  }

  #split(found: metapb.Region, keys: readonly Uint8Array[]): metapb.Region[] {
    const bounds = [found.startKey, ...keys, found.endKey];
    const { confVer, version } = epoch(found);
    const regions = bounds.slice(1).map((endKey, part): metapb.Region => {
      const last = part === keys.length;
      const id = last ? found.id : this.#nextId++;
      return {
        ...found,
        id,
        startKey: bounds[part] ?? new Uint8Array(0),
        endKey,
        regionEpoch: { confVer, version: version + keys.length },
        peers: last ? found.peers : found.peers.map((peer) => ({ ...peer, id: this.#nextId++ })),
      };
    });
    for (const { id } of regions) {
      this.#world.leaders.set(id, this.#world.leaders.get(found.id) ?? 0);
    }
    this.set(regions);
    return regions;
  }

  #changePeers(found: metapb.Region, changes: readonly raft_cmdpb.ChangePeerRequest[]): metapb.Region {
    const joint = changes.length > 1;
    let { peers } = found;
    let flips = changes.length;
    for (const { changeType, peer } of changes) {
      if (peer === undefined) continue;
      const known = peers.find(({ storeId }) => storeId === peer.storeId);
      const others = peers.filter(({ storeId }) => storeId !== peer.storeId);
      if (changeType === RemoveNode) {
        peers = others;
        continue;
      }
      const id = known?.id ?? this.#nextId++;
      const role = changeType === AddNode ? (joint ? IncomingVoter : Voter) : joint ? DemotingVoter : Learner;
      peers = [...others, { id, storeId: peer.storeId, role }];
      if (known === undefined) this.#fallBehind(found.id, id);
    }
    if (changes.length === 0) {
      flips = peers.filter(({ role }) => role === IncomingVoter || role === DemotingVoter).length;
      peers = peers.map((peer) => ({
        ...peer,
        role: peer.role === IncomingVoter ? Voter : peer.role === DemotingVoter ? Learner : peer.role,
      }));
    }
    const { confVer, version } = epoch(found);
    const changed = { ...found, peers, regionEpoch: { confVer: confVer + flips, version } };
    this.set([changed]);
    return changed;
  }

  #fallBehind(regionId: number, peerId: number): void {
    const { reports } = this.#world;
    reports.set(regionId, { ...reports.get(regionId), pending: [peerId] });
    this.#later(this.catchUp, () => reports.set(regionId, { ...reports.get(regionId), pending: [] }));
  }

  #merge(source: metapb.Region, target: metapb.Region): metapb.Region {
    const { confVer, version } = epoch(source);
    const merging = { ...source, regionEpoch: { confVer: confVer + 1, version: version + 1 } };
    this.set([merging]);
    this.#later(100, () => {
      if (this.mergeEnds === 'never') return;
      if (this.mergeEnds === 'rolled back') {
        this.set([{ ...merging, regionEpoch: { confVer: confVer + 1, version: version + 2 } }]);
      } else {
        const left = compareBytes(source.startKey, target.startKey) < 0;
        const regionEpoch = {
          confVer: epoch(target).confVer,
          version: Math.max(version + 1, epoch(target).version) + 1,
        };
        this.#world.regions = this.#world.regions.filter(({ id }) => id !== source.id);
        this.set([
          {
            ...target,
            ...(left ? { startKey: source.startKey } : { endKey: source.endKey }),
            regionEpoch,
          },
        ]);
      }
      this.#later(this.lag, () => this.tell());
    });
    return merging;
  }
}

/** Peers as `store role`, in the order of stores. */
export function rolesOf({ peers }: RegionInfo): string[] {
  return [...peers].sort((a, b) => a.store - b.store).map(({ store, role }) => `${store} ${role}`);
}

/** Region 7 with these peers. */
export function roles(...of: (readonly [storeId: number, role: metapb.PeerRole])[]): metapb.Region {
  return {
    ...region(7, '', '', 5),
    peers: of.map(([storeId, role]) => ({ id: 70 + storeId, storeId, role })),
  };
}

export function epoch({ regionEpoch }: metapb.Region): metapb.RegionEpoch {
  return regionEpoch ?? { confVer: 0, version: 0 };
}

/** A region error, and nothing done. */
export function wrong(error: Partial<errorpb.Error>): Reply {
  return troupepb.ChangeRegionResponse.from({
    regionError: errorpb.Error.from({ message: 'refused by the script', ...error }),
  });
}

/** A refusal, and nothing done. */
export function refused(code: string, retry = false): Reply {
  return troupepb.ChangeRegionResponse.from({
    refusal: { code, message: `the store says ${code}`, retry },
  });
}

function inShort(command: raft_cmdpb.AdminRequest | undefined): string {
  if (command?.splits !== undefined) return 'split';
  if (command?.prepareMerge !== undefined) return 'merge';
  if (command?.transferLeader !== undefined) return `lead ${command.transferLeader.peer?.storeId}`;
  const changes = command?.changePeerV2?.changes ?? [];
  if (changes.length === 0) return 'leave';
  const words = changes.map(({ changeType, peer }) =>
    changeType === RemoveNode
      ? `-${peer?.storeId}`
      : `+${peer?.storeId} ${changeType === AddNode ? 'voter' : 'learner'}`,
  );
  return words.join(', ');
}
