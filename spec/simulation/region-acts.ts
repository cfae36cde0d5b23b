import type { Random, VirtualClock } from '../../actors/index.js';
import type { troupepb } from '../../cluster/proto/index.js';
import { compareBytes, rawKey, txnKey } from '../../storage/keys.js';
import { eraftpb, metapb, raft_cmdpb } from '../../storage/proto/index.js';
import type { AdminCommand, LedRegion, RegionOperator } from './region-operator.js';
import { matchStep, type PeerChange, peerChange } from './region-steps.js';
import { type RegionAct, regionTasteOf } from './region-taste.js';
import { pick } from './store-load.js';

const { AdminCmdType } = raft_cmdpb;
const { AddNode, AddLearnerNode, RemoveNode } = eraftpb.ConfChangeType;
const { PeerRole } = metapb;

export interface RegionActsParts {
  readonly operator: RegionOperator;
  /** Names of all stores; each ends in its id. */
  readonly stores: readonly string[];
  readonly world: VirtualClock;
  readonly random: Random;
  /** Regions are split between transactional keys too. */
  readonly txn: boolean;
}

/** Regions that one simulation has at most at once. */
const MAX_REGIONS = 12;
/** Plans that are followed at once. */
const MAX_PLANS = 4;
/** How often a step of a plan is tried. */
const TRIES = 6;
const MERGE_TRIES = 12;
/** Around the keys of the load: between them, at them, and where none are. */
const SPLIT_KEYS = 'a l l0-1 l1-0 l2 l3-1 l5 m p-client-2 q r0 r1 r1x r2 r3 r4 r4z r5 r6 z'
  .split(' ')
  .map((key) => rawKey(Buffer.from(key)));

/** The same for the load of transactions. */
const TXN_SPLIT_KEYS = 'bank/2 bank/4 list list/0/0/1 list/1 list/1/0/0 list/2/0/0 m'
  .split(' ')
  .map((key) => txnKey(Buffer.from(key)));

/** Changes of regions in the middle of everything else: nobody minds what becomes of them. */
export class RegionActs {
  readonly #parts: RegionActsParts;
  readonly #taste: Readonly<Record<RegionAct, number>> | undefined;
  readonly #restlessness: number;
  #plans = 0;
  #running = false;

  constructor(parts: RegionActsParts) {
    this.#parts = parts;
    const { random } = parts;
    this.#taste = regionTasteOf(random);
    this.#restlessness = 100 + 1_500 * random() * random();
  }

  start(): void {
    if (this.#taste === undefined) return;
    this.#running = true;
    this.#next(this.#taste);
  }

  stop(): void {
    this.#running = false;
  }

  #next(taste: Readonly<Record<RegionAct, number>>): void {
    const { world, random } = this.#parts;
    world.setTimeout(
      () => {
        if (!this.#running) return;
        this.#begin(pick(taste, random));
        this.#next(taste);
      },
      30 + this.#restlessness * random(),
    );
  }

  #begin(act: RegionAct): void {
    const led = this.#parts.operator.led();
    const one = this.#oneOf(led);
    if (one === undefined || this.#plans >= MAX_PLANS) return;
    this.#plans++;
    void this.#act(act, one, led).finally(() => this.#plans--);
  }

  async #act(act: RegionAct, one: LedRegion, led: readonly LedRegion[]): Promise<unknown> {
    const { operator, random } = this.#parts;
    const { region } = one;
    const voters = region.peers.filter(({ role }) => role === PeerRole.Voter);
    const learners = region.peers.filter(({ role }) => role === PeerRole.Learner);
    const leader = region.peers.find(({ storeId }) => one.store === `store-${storeId}`);
    switch (act) {
      case 'split':
        return this.#split(one, led.length);
      case 'halve':
        if (led.length >= MAX_REGIONS) return;
        return operator.change(one, { cmdType: AdminCmdType.BatchSplit }, true);
      case 'merge':
        return this.#merge(one, led, random() < 0.75);
      case 'addPeer':
        return this.#changePeers(one, this.#newPeer(one, AddNode));
      case 'addLearner':
        return this.#changePeers(one, this.#newPeer(one, AddLearnerNode));
      case 'promote':
        return this.#changePeers(one, peerChange(AddNode, this.#oneOf(learners)));
      case 'demote':
        return this.#changePeers(one, peerChange(AddLearnerNode, this.#oneOf(voters)));
      case 'remove': {
        const others = region.peers.filter((peer) => peer !== leader);
        return this.#changePeers(one, peerChange(RemoveNode, this.#oneOf(others)));
      }
      case 'removeLeader':
        return this.#changePeers(one, peerChange(RemoveNode, leader));
      case 'replace':
        return this.#replace(
          one,
          this.#oneOf(random() < 0.7 ? voters.filter((peer) => peer !== leader) : voters),
        );
      case 'swapRoles': {
        const [up, down] = [this.#oneOf(learners), this.#oneOf(voters)];
        return this.#jointly(one, peerChange(AddNode, up), peerChange(AddLearnerNode, down));
      }
      case 'leave':
        return this.#changePeers(one);
      case 'transfer': {
        const peer = this.#oneOf(region.peers);
        if (peer === undefined) return;
        return operator.change(one, { cmdType: AdminCmdType.TransferLeader, transferLeader: { peer } });
      }
      case 'again':
        return this.#again();
      case 'elsewhere':
        return this.#elsewhere(one);
    }
  }

  async #split(one: LedRegion, regions: number): Promise<unknown> {
    const { operator, random } = this.#parts;
    const { startKey, endKey } = one.region;
    const inside = [...SPLIT_KEYS, ...(this.#parts.txn ? TXN_SPLIT_KEYS : [])].filter(
      (key) => compareBytes(startKey, key) < 0 && (endKey.length === 0 || compareBytes(key, endKey) < 0),
    );
    const wanted = Math.min(random() < 0.75 ? 1 : 2 + Math.floor(2 * random()), MAX_REGIONS - regions);
    const keys: Uint8Array[] = [];
    while (keys.length < wanted && inside.length > 0)
      keys.push(...inside.splice(Math.floor(random() * inside.length), 1));
    if (keys.length === 0) return;
    keys.sort(compareBytes);
    const requests = keys.map((splitKey) => ({ splitKey, newRegionId: 0, newPeerIds: [] }));
    const splits = { requests, rightDerive: random() < 0.5 };
    return operator.change(one, { cmdType: AdminCmdType.BatchSplit, splits });
  }

  /** Into a neighbour: as both are, or after one has followed the other to its stores. */
  async #merge(one: LedRegion, led: readonly LedRegion[], follows: boolean): Promise<void> {
    const at = led.indexOf(one);
    const neighbour =
      this.#parts.random() < 0.5 ? (led[at - 1] ?? led[at + 1]) : (led[at + 1] ?? led[at - 1]);
    if (neighbour === undefined) return;
    for (let i = 0; i < MERGE_TRIES && this.#running; i++) {
      const source = this.#parts.operator.find(one.region.id);
      const target = this.#parts.operator.find(neighbour.region.id);
      if (source !== undefined && target !== undefined) {
        const step = follows ? matchStep(source.region, target.region) : undefined;
        if (step === undefined) {
          const reply = await this.#parts.operator.change(source, mergeInto(target.region));
          if (isDone(reply) || !follows) return;
        } else await this.#parts.operator.change(source, changeOf(step));
      }
      await this.#sleep(50 + 300 * this.#parts.random());
    }
  }

  /** Moves a replica: the new one votes and the old one does not, at one moment; then the old one goes. */
  async #replace(one: LedRegion, old: metapb.Peer | undefined): Promise<void> {
    const { operator, random } = this.#parts;
    const place = this.#newPeer(one, AddNode);
    if (old === undefined || place === undefined) return;
    const entered = await this.#jointly(one, place, peerChange(AddLearnerNode, old));
    if (!entered || random() < 0.2) return;
    const { id } = one.region;
    const peerOf = () => operator.find(id)?.region.peers.find((peer) => peer.id === old.id);
    await this.#sleep(500 * random());
    const left = await this.#insist(id, () => (peerOf()?.role === PeerRole.Learner ? undefined : []));
    if (!left || random() < 0.2) return;
    await this.#insist(id, () => peerChange(RemoveNode, peerOf()));
  }

  async #jointly(one: LedRegion, ...changes: readonly (PeerChange | undefined)[]): Promise<boolean> {
    const known = changes.filter((change) => change !== undefined);
    if (known.length < changes.length) return false;
    return isDone(await this.#parts.operator.change(one, changeOf(known)));
  }

  /** Tries until it is done, or there is nothing to do any more. */
  async #insist(id: number, step: () => PeerChange | readonly PeerChange[] | undefined): Promise<boolean> {
    for (let i = 0; i < TRIES && this.#running; i++) {
      const change = step();
      if (change === undefined) return true;
      const found = this.#parts.operator.find(id);
      if (found !== undefined && isDone(await this.#parts.operator.change(found, changeOf(change))))
        return true;
      await this.#sleep(50 + 300 * this.#parts.random());
    }
    return false;
  }

  async #changePeers(one: LedRegion, ...changes: readonly (PeerChange | undefined)[]): Promise<unknown> {
    const known = changes.filter((change) => change !== undefined);
    if (known.length < changes.length) return;
    return this.#parts.operator.change(one, changeOf(known));
  }

  /** The same request once more, where it was sent or elsewhere: its epoch may be long over. */
  async #again(): Promise<unknown> {
    const { operator, random, stores } = this.#parts;
    const before = operator.asked(random);
    if (before === undefined) return;
    const { store, change } = before;
    const times = random() < 0.3 ? 2 : 1;
    const where = random() < 0.6 ? store : (this.#oneOf(stores) ?? store);
    return Promise.all(Array.from({ length: times }, () => operator.ask(where, change)));
  }

  /** Somebody is asked who does not lead. */
  async #elsewhere({ region, store }: LedRegion): Promise<unknown> {
    const { operator, stores } = this.#parts;
    const other = this.#oneOf(stores.filter((name) => name !== store));
    if (other === undefined) return;
    const splits = { requests: SPLIT_KEYS.slice(0, 1).map(splitAt), rightDerive: true };
    return operator.change({ region, store: other }, { cmdType: AdminCmdType.BatchSplit, splits });
  }

  #newPeer({ region }: LedRegion, changeType: eraftpb.ConfChangeType): PeerChange | undefined {
    const free = this.#parts.stores
      .map((name) => Number(name.slice('store-'.length)))
      .filter((storeId) => !region.peers.some((peer) => peer.storeId === storeId));
    const storeId = this.#oneOf(free);
    return storeId === undefined
      ? undefined
      : peerChange(changeType, { id: 0, storeId, role: PeerRole.Voter });
  }

  #oneOf<T>(things: readonly T[]): T | undefined {
    return things[Math.floor(this.#parts.random() * things.length)];
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => void this.#parts.world.setTimeout(resolve, ms));
  }
}

function splitAt(splitKey: Uint8Array) {
  return { splitKey, newRegionId: 0, newPeerIds: [] };
}

function mergeInto(target: metapb.Region): AdminCommand {
  return { cmdType: AdminCmdType.PrepareMerge, prepareMerge: { minIndex: 0, target } };
}

function changeOf(changes: PeerChange | readonly PeerChange[]): AdminCommand {
  return {
    cmdType: AdminCmdType.ChangePeerV2,
    changePeerV2: { changes: 'changeType' in changes ? [changes] : changes },
  };
}

function isDone(reply: troupepb.ChangeRegionResponse | undefined): boolean {
  return reply !== undefined && reply.regionError === undefined && reply.refusal === undefined;
}
