/** What an inspector knows of a cluster: everything that nodes have told it, bounded. */

import type { InspectionBatch, InspectionRecord, MachineRecord, StateRecord } from '../../actors/index.js';
import {
  isOperatorItem,
  isPlacementItem,
  isRaftItem,
  isRegionItem,
  isStoreItem,
  isTxnNote,
  type OperatorItem,
  type PlacementItem,
  type RaftItem,
  type RegionItem,
  type StoreItem,
} from '../inspection/items.js';
import { HeatMap } from './heat-map.js';
import { KnownActors } from './known-actors.js';
import { Presence } from './presence.js';
import { RegionMoments } from './region-moments.js';
import { Ring } from './ring.js';
import { ActorTrace } from './trace.js';
import { Transactions } from './transactions.js';

/** A raft group's replica, and when it was what. */
export interface Member extends RaftItem {
  readonly node: string;
  readonly history: Ring<RoleChange>;
  /** Where its chart is; `undefined` until it was told. */
  value: unknown;
}

export interface RoleChange {
  /** Unix milliseconds. */
  readonly at: number;
  readonly term: number;
  readonly role: string;
}

export interface KnownNode {
  incarnation: number;
  sequence: number;
  /** Unix milliseconds of this machine. */
  heardAt: number;
  /** When it was heard of first. */
  readonly since: number;
  /** Batches that were lost on the way. */
  lost: number;
}

export interface Letter {
  readonly at: number;
  readonly node: string;
  readonly reason: string;
  readonly from: string;
  readonly to: string;
  readonly event: string;
  readonly detail: string;
}

export interface Moment {
  readonly at: number;
  readonly text: string;
}

/** Of a node that serves nothing of the cluster (a tool, a host of deployed actors) nothing is kept when it was silent for so long. */
const FORGET_MS = 30_000;
const MOST_TRACES = 16;
const ROLE_CHANGES = 64;

export class ClusterModel {
  readonly nodes = new Map<string, KnownNode>();
  readonly stores = new Map<number, StoreItem>();
  readonly regions = new Map<number, RegionItem>();
  readonly operators = new Map<number, OperatorItem>();
  placement: PlacementItem | undefined;
  /** By node and region. */
  readonly members = new Map<string, Member>();
  readonly actors = new KnownActors();
  readonly letters = new Ring<Letter>(500);
  readonly moments = new Ring<Moment>(100);
  readonly transactions = new Transactions();
  readonly heat: HeatMap;
  /** Of the actors that somebody looks at. */
  readonly traces = new Map<string, ActorTrace>();
  /** Since the start. */
  records = 0;
  leftOut = 0;
  /** Grows with each change, so that what is derived need not be made anew. */
  version = 0;
  readonly #now: () => number;
  #sorted: { readonly version: number; readonly regions: readonly RegionItem[] } | undefined;
  #regionsVersion = 0;
  readonly #presence = new Presence();
  readonly #regionMoments = new RegionMoments();

  /** @param now Unix milliseconds */
  constructor(now: () => number) {
    this.#now = now;
    this.heat = new HeatMap(now);
  }

  /** Takes in what a node has told. */
  take(batch: InspectionBatch): void {
    const { node, incarnation, sequence, at, wall, records, leftOut } = batch;
    const known = this.nodes.get(node);
    const lost = known?.incarnation === incarnation ? Math.max(0, sequence - known.sequence - 1) : 0;
    // Of an earlier life of the node nothing is left.
    if (known !== undefined && known.incarnation !== incarnation) {
      this.#forgetNode(node);
      this.#presence.met(node);
      this.say(`${node} was started anew`);
    }
    this.nodes.set(node, {
      incarnation,
      sequence,
      heardAt: this.#now(),
      since: known?.since ?? this.#now(),
      lost: (known?.lost ?? 0) + lost,
    });
    this.version++;
    this.records += records.length;
    for (const counts of Object.values(leftOut))
      for (const count of Object.values(counts)) this.leftOut += count;
    for (const record of records) this.#record(node, record, wall + record.at - at);
  }

  /** Regions by key. */
  sortedRegions(): readonly RegionItem[] {
    if (this.#sorted?.version !== this.#regionsVersion) {
      const regions = [...this.regions.values()].sort((a, b) =>
        a.startHex === b.startHex ? a.id - b.id : a.startHex < b.startHex ? -1 : 1,
      );
      this.#sorted = { version: this.#regionsVersion, regions };
    }
    return this.#sorted.regions;
  }

  /** Notes that something happened. @param at Unix milliseconds */
  say(text: string, at = this.#now()): void {
    this.moments.push({ at, text });
  }

  /** Looks who is heard of, and what can be said of regions by now. @param away whether NATS is */
  look(away: boolean): void {
    const now = this.#now();
    const stores = new Set([...this.stores.values()].map(({ node }) => node));
    // Schedulers are the members of the group that has no region.
    const serves = (node: string): boolean => stores.has(node) || this.members.has(`${node}/0`);
    for (const text of this.#presence.look(this.nodes, serves, away, now)) this.say(text, now);
    for (const [node, { heardAt }] of this.nodes) {
      if (away || now - heardAt < FORGET_MS || serves(node)) continue;
      this.nodes.delete(node);
      this.#forgetNode(node);
    }
    for (const text of this.#regionMoments.settle(now)) this.say(text, now);
    // No page need show actors, and these come and go.
    this.actors.dropGone();
  }

  /** The replicas of a region that stores have told of. */
  membersOf(region: number): readonly Member[] {
    return [...this.nodes.keys()].flatMap((node) => this.members.get(`${node}/${region}`) ?? []);
  }

  /** Follows an actor's steps from now on. */
  trace(address: string): ActorTrace {
    const known = this.traces.get(address);
    if (known !== undefined) return known;
    const [oldest] = this.traces.keys();
    if (this.traces.size >= MOST_TRACES && oldest !== undefined) this.traces.delete(oldest);
    const made = new ActorTrace();
    this.traces.set(address, made);
    return made;
  }

  untrace(address: string): void {
    this.traces.delete(address);
  }

  /** Everything but what is kept for good: somebody looks again after a while. */
  clear(): void {
    this.nodes.clear();
    this.stores.clear();
    this.regions.clear();
    this.operators.clear();
    this.members.clear();
    this.actors.clear();
    this.traces.clear();
    this.placement = undefined;
    this.#regionsVersion++;
    this.version++;
  }

  #forgetNode(node: string): void {
    for (const [key, member] of this.members) if (member.node === node) this.members.delete(key);
    this.actors.forgetNode(node);
  }

  #record(node: string, record: InspectionRecord, at: number): void {
    switch (record.kind) {
      case 'state':
        this.#state(node, record, at);
        break;
      case 'letter': {
        const { reason, from, to, event, detail } = record;
        this.letters.push({ at, node, reason, from, to, event, detail });
        break;
      }
      case 'note':
        if (record.topic === 'txn' && isTxnNote(record.detail))
          this.transactions.add(at, node, record.detail);
        break;
      case 'life': {
        const address = `${node}/${record.path}`;
        if (record.what === 'stopped') this.actors.forget(address);
        if (record.what === 'failed') this.say(`${address} failed: ${record.detail ?? ''}`, at);
        this.traces.get(address)?.life(at, record.what, record.detail);
        break;
      }
      default:
        this.#machine(node, record, at);
    }
  }

  #machine(node: string, record: MachineRecord, at: number): void {
    const address = `${node}/${record.path}`;
    if (record.child === undefined && record.snapshot !== undefined) {
      const actor = this.actors.meet(address);
      if (actor !== undefined) {
        actor.machine = record.machine ?? actor.machine;
        actor.value = record.snapshot.value ?? record.snapshot.status;
        actor.status = record.snapshot.status;
        if (record.queued !== undefined) actor.queued = record.queued;
      }
      const [, region, raft] = /^region\/(\d+)\/peer\/\d+(\/raft)$/.exec(record.path) ?? [];
      const member = raft === undefined ? undefined : this.members.get(`${node}/${region}`);
      if (member !== undefined) member.value = record.snapshot.value;
    }
    this.traces.get(address)?.add(at, record);
  }

  #state(node: string, { topic, items, gone }: StateRecord, at: number): void {
    switch (topic) {
      case 'stores':
        this.#storesChanged(items, at);
        update(this.stores, items, gone, isStoreItem, ({ id }) => id);
        break;
      case 'regions':
        this.#regions(items, gone, at);
        break;
      case 'operators':
        for (const item of items.filter(isOperatorItem)) {
          const before = this.operators.get(item.region);
          if (before?.steps.join() !== item.steps.join())
            this.say(`region ${item.region}: ${item.steps.join(', then ')} (${item.by})`, at);
        }
        update(this.operators, items, gone, isOperatorItem, ({ region }) => region);
        break;
      case 'placement':
        this.placement = items.find(isPlacementItem) ?? this.placement;
        break;
      case 'raft':
        this.#raft(node, items, gone, at);
        break;
      case 'actors':
        this.actors.told(node, items, gone);
        break;
      default:
        break;
    }
  }

  #storesChanged(items: readonly unknown[], at: number): void {
    for (const { id, node, state } of items.filter(isStoreItem)) {
      const before = this.stores.get(id);
      if (before === undefined || before.state === state) continue;
      this.say(state === 'up' ? `${node} is up again` : `${node} is ${state}`, at);
    }
  }

  #regions(items: readonly unknown[], gone: readonly unknown[], at: number): void {
    // Who begins to look learns of all of them: none of these is new.
    const first = this.regions.size === 0;
    for (const item of items.filter(isRegionItem)) {
      const before = this.regions.get(item.id);
      if (before !== undefined) this.#regionMoments.changed(before, item, at);
      else if (!first) this.#regionMoments.came(item, at);
      if (before !== undefined && before.leader !== item.leader && item.leader !== 0)
        this.say(
          `region ${item.id} is led by ${this.stores.get(item.leader)?.node ?? `store ${item.leader}`}`,
          at,
        );
    }
    for (const id of gone) {
      const before = this.regions.get(Number(id));
      if (before !== undefined) this.#regionMoments.went(before, at);
    }
    update(this.regions, items, gone, isRegionItem, ({ id }) => id);
    this.#regionsVersion++;
  }

  #raft(node: string, items: readonly unknown[], gone: readonly unknown[], at: number): void {
    for (const item of items.filter(isRaftItem)) {
      const key = `${node}/${item.region}`;
      const known = this.members.get(key);
      const history = known?.history ?? new Ring<RoleChange>(ROLE_CHANGES);
      const { last } = history;
      if (last?.term !== item.term || last.role !== item.role)
        history.push({ at, term: item.term, role: item.role });
      const path = `${node}/region/${item.region}/peer/${item.peer}/raft`;
      this.members.set(key, { ...item, node, history, value: known?.value ?? this.actors.get(path)?.value });
    }
    for (const region of gone) this.members.delete(`${node}/${String(region)}`);
  }
}

function update<T>(
  known: Map<number, T>,
  items: readonly unknown[],
  gone: readonly unknown[],
  is: (item: unknown) => item is T,
  keyOf: (item: T) => number,
): void {
  for (const key of gone) known.delete(Number(key));
  for (const item of items) if (is(item)) known.set(keyOf(item), item);
}
