import type { Clock, Random } from '../../actors/index.js';
import { type ClusterAdmin, type RawSpace, type RegionInfo, TroupeError } from '../../cluster/index.js';
import type { KeySpace } from '../../storage/keys.js';
import { freeStores, VOTERS, voterStores } from './region-health.js';
import { fateOf, outcomeText, type RegionActFate } from './region-outcomes.js';

/**
 * - `split`: at one or two keys, of which some are there and some are not
 * - `halve`: at the middle of the data
 * - `merge`: of neighbours, whose peers are first brought to the same stores, or not
 * - `move`: of a peer to another store
 * - `add`: a fourth voter, then one of the four goes
 * - `remove`: a voter goes, then another comes
 * - `learner`: a learner comes and is promoted, then a voter goes
 * - `transfer`: of leadership
 */
export const REGION_ACTS = [
  'split',
  'halve',
  'merge',
  'move',
  'add',
  'remove',
  'learner',
  'transfer',
] as const;
export type RegionAct = (typeof REGION_ACTS)[number];

export type RegionActCounts = Readonly<Record<RegionAct, Readonly<Record<RegionActFate, number>>>>;

export interface RegionActsOptions {
  readonly cluster: Pick<
    ClusterAdmin,
    | 'regions'
    | 'status'
    | 'splitRegion'
    | 'splitRegionInHalf'
    | 'mergeRegions'
    | 'movePeer'
    | 'addPeer'
    | 'addLearner'
    | 'promote'
    | 'removePeer'
    | 'transferLeader'
  >;
  /** Whose keys regions are split between (`raw`). */
  readonly space?: KeySpace;
  /** The first key of that space from `start` on. @param timeout milliseconds */
  readonly firstKey: (start: string, timeout: number) => Promise<Uint8Array | undefined>;
  readonly clock: Clock;
  /** Some key near the data. */
  readonly key: (random: Random) => string;
  /** When there are so many, none is split here. */
  readonly mostRegions: number;
  /** An act begins. @returns what to call when it has ended, with how */
  readonly began: (act: RegionAct, sentence: string) => (fate: RegionActFate, how: string) => void;
}

/** Milliseconds of one call, those of an act, and those beyond after which a call counts as hanging. */
const CALL_MS = 10_000;
const ACT_MS = 25_000;
const GRACE_MS = 10_000;
const LOOK_MS = 2_000;
/** How often each act is drawn, beside the others. */
const WEIGHTS: Readonly<Record<RegionAct, number>> = {
  split: 3,
  halve: 2,
  merge: 4,
  move: 3,
  add: 1,
  remove: 1,
  learner: 1,
  transfer: 3,
};
/** Of merges, those whose peers are brought together first. */
const ALIGNED = 0.8;
const ALIGN_STEPS = 6;

/** The first raw key from `start` on. */
export function firstRawKey(
  raw: Pick<RawSpace, 'scan'>,
): (start: string, timeout: number) => Promise<Uint8Array | undefined> {
  return async (start, timeout) => {
    for await (const { key } of raw.scan({ start, limit: 1, timeout })) return key;
    return undefined;
  };
}

/** What an act must not end with. */
export class RegionActFault extends Error {}

/** The act cannot go on, with what it has found out. */
class Nothing extends Error {}

/** Random changes of a cluster's regions, through the client library. */
export class RegionActs {
  readonly counts = Object.fromEntries(
    REGION_ACTS.map((act) => [act, { done: 0, refused: 0, open: 0 }]),
  ) as Record<RegionAct, Record<RegionActFate, number>>;
  readonly #options: RegionActsOptions;

  constructor(options: RegionActsOptions) {
    this.#options = options;
  }

  /**
   * One act on what the cluster looks like now; all about it is drawn by `random`, save the act where it is given. Nothing
   * happens when the scheduler does not tell.
   * @throws RegionActFault for whatever a change of a region must not end with
   */
  async one(random: Random, given?: RegionAct): Promise<void> {
    const world = await this.#look();
    if (world === undefined) return;
    const act = given ?? drawAct(random, world.regions.length, this.#options.mostRegions);
    await new ActUnderWay(this.#options, act, world, random).run((fate) => {
      this.counts[act][fate]++;
    });
  }

  async #look(): Promise<World | undefined> {
    const { cluster } = this.#options;
    try {
      const [regions, { stores }] = await Promise.all([
        cluster.regions({ timeout: LOOK_MS }),
        cluster.status({ timeout: LOOK_MS }),
      ]);
      return regions.length === 0 ? undefined : { regions, stores: stores.map(({ id }) => id) };
    } catch (error) {
      if (fateOf(error) === 'open') return undefined;
      throw new RegionActFault(`regions could not be listed: ${outcomeText(error)}`);
    }
  }
}

interface World {
  readonly regions: readonly RegionInfo[];
  /** Ids of all stores. */
  readonly stores: readonly number[];
}

function drawAct(random: Random, regions: number, most: number): RegionAct {
  const weight = (act: RegionAct): number => {
    // There are to be many: merges come when there are.
    if (act === 'merge') return regions === 1 ? 0 : WEIGHTS.merge * Math.min(1, (2 * regions) / most);
    return (act === 'split' || act === 'halve') && regions >= most ? 0 : WEIGHTS[act];
  };
  const total = REGION_ACTS.reduce((sum, act) => sum + weight(act), 0);
  let left = random() * total;
  for (const act of REGION_ACTS) {
    left -= weight(act);
    if (left < 0) return act;
  }
  return 'transfer';
}

class ActUnderWay {
  readonly #options: RegionActsOptions;
  readonly #act: RegionAct;
  readonly #world: World;
  readonly #random: Random;
  readonly #deadline: number;
  #ended: ((fate: RegionActFate, how: string) => void) | undefined;

  constructor(options: RegionActsOptions, act: RegionAct, world: World, random: Random) {
    this.#options = options;
    this.#act = act;
    this.#world = world;
    this.#random = random;
    this.#deadline = options.clock.now() + ACT_MS;
  }

  async run(count: (fate: RegionActFate) => void): Promise<void> {
    try {
      await this.#do();
      this.#ended?.('done', '');
      if (this.#ended !== undefined) count('done');
    } catch (error) {
      // There was nothing to do it with.
      if (error instanceof Nothing) return;
      const fate = fateOf(error);
      if (fate === undefined) {
        if (error instanceof RegionActFault) throw error;
        throw new RegionActFault(`${this.#act} of a region ended with ${outcomeText(error)}`, {
          cause: error,
        });
      }
      this.#ended?.(fate, outcomeText(error));
      count(fate);
    }
  }

  #do(): Promise<unknown> {
    switch (this.#act) {
      case 'split':
        return this.#split();
      case 'halve':
        return this.#halve();
      case 'merge':
        return this.#merge();
      case 'move':
        return this.#move();
      case 'add':
        return this.#add();
      case 'remove':
        return this.#remove();
      case 'learner':
        return this.#learner();
      case 'transfer':
        return this.#transfer();
    }
  }

  async #split(): Promise<void> {
    const { cluster, space = 'raw', key: someKey } = this.#options;
    const key = someKey(this.#random);
    const keys: [Uint8Array, ...Uint8Array[]] = [(await this.#keyFrom(key)) ?? Buffer.from(key)];
    if (this.#random() < 0.3) keys.push(Buffer.concat([keys[0], Buffer.of(0)]));
    this.#begin(`split at ${keys.map((one) => JSON.stringify(Buffer.from(one).toString())).join(', ')}`);
    await this.#call('split', (timeout) => cluster.splitRegion(keys, { timeout, space }));
  }

  /** In half of the cases a key that is there. */
  async #keyFrom(start: string): Promise<Uint8Array | undefined> {
    if (this.#random() < 0.5) return undefined;
    return this.#call('scan', (timeout) => this.#options.firstKey(start, timeout));
  }

  async #halve(): Promise<void> {
    const { id } = this.#some(this.#world.regions);
    this.#begin(`halve region ${id}`);
    await this.#call('split', (timeout) => this.#options.cluster.splitRegionInHalf(id, { timeout }));
  }

  async #merge(): Promise<void> {
    const { regions } = this.#world;
    const at = Math.floor(this.#random() * (regions.length - 1));
    const pair = [regions[at], regions[at + 1]];
    const [source, target] = this.#random() < 0.5 ? pair : pair.reverse();
    if (source === undefined || target === undefined) throw new Nothing();
    const align = this.#random() < ALIGNED;
    this.#begin(`merge region ${source.id} into ${target.id}${align ? '' : ', as they are'}`);
    if (align) await this.#align(source.id, target.id);
    await this.#call('merge', (timeout) =>
      this.#options.cluster.mergeRegions(source.id, target.id, { timeout }),
    );
  }

  /** Brings the peers of one region to the stores of another, as far as that leaves enough voters. */
  async #align(sourceId: number, targetId: number): Promise<void> {
    const { cluster } = this.#options;
    for (let step = 0; step < ALIGN_STEPS; step++) {
      const regions = await this.#call('list', (timeout) => cluster.regions({ timeout }));
      const source = regions.find(({ id }) => id === sourceId);
      const target = regions.find(({ id }) => id === targetId);
      if (source === undefined || target === undefined) return;
      const [mine, theirs] = [voterStores(source), voterStores(target)];
      const learner = source.peers.find(({ role }) => role === 'learner');
      const [from] = mine.filter((store) => !theirs.includes(store));
      const [to] = theirs.filter((store) => !mine.includes(store));
      if (learner !== undefined) {
        await this.#call('remove', (timeout) => cluster.removePeer(sourceId, learner.store, { timeout }));
      } else if (from !== undefined && to !== undefined) {
        await this.#call('move', (timeout) => cluster.movePeer(sourceId, from, to, { timeout }));
      } else if (from !== undefined && mine.length > this.#enough) {
        await this.#call('remove', (timeout) => cluster.removePeer(sourceId, from, { timeout }));
      } else if (to !== undefined) {
        await this.#call('add', (timeout) => cluster.addPeer(sourceId, to, { timeout }));
      } else return;
    }
  }

  async #move(): Promise<void> {
    const region = this.#some(this.#world.regions.filter((one) => this.#free(one).length > 0));
    const from = this.#some(region.peers.map(({ store }) => store));
    const to = this.#some(this.#free(region));
    this.#begin(`move region ${region.id} from store ${from} to store ${to}`);
    await this.#call('move', (timeout) => this.#options.cluster.movePeer(region.id, from, to, { timeout }));
  }

  async #add(): Promise<void> {
    const { cluster } = this.#options;
    const { id, store } = this.#newcomer();
    this.#begin(`add a peer of region ${id} on store ${store}, and remove one`);
    const grown = await this.#call('add', (timeout) => cluster.addPeer(id, store, { timeout }));
    await this.#shrink(grown);
  }

  async #learner(): Promise<void> {
    const { cluster } = this.#options;
    const { id, store } = this.#newcomer();
    this.#begin(`add a learner of region ${id} on store ${store}, promote it, and remove a voter`);
    await this.#call('add', (timeout) => cluster.addLearner(id, store, { timeout }));
    const grown = await this.#call('promote', (timeout) => cluster.promote(id, store, { timeout }));
    await this.#shrink(grown);
  }

  async #remove(): Promise<void> {
    const { cluster } = this.#options;
    const region = this.#some(this.#world.regions.filter((one) => voterStores(one).length >= this.#enough));
    const gone = this.#some(voterStores(region));
    const { id } = region;
    this.#begin(`remove the peer of region ${id} on store ${gone}, and add one`);
    const shrunk = await this.#call('remove', (timeout) => cluster.removePeer(id, gone, { timeout }));
    if (voterStores(shrunk).length >= this.#enough) return;
    const store = this.#some(this.#free(shrunk));
    await this.#call('add', (timeout) => cluster.addPeer(id, store, { timeout }));
  }

  async #transfer(): Promise<void> {
    const region = this.#some(this.#world.regions);
    const store = this.#some(voterStores(region).filter((one) => one !== region.leader));
    this.#begin(`make store ${store} the leader of region ${region.id}`);
    await this.#call('transfer', (timeout) =>
      this.#options.cluster.transferLeader(region.id, store, { timeout }),
    );
  }

  /** A region and a store that has no peer of it. */
  #newcomer(): { readonly id: number; readonly store: number } {
    const region = this.#some(this.#world.regions.filter((one) => this.#free(one).length > 0));
    return { id: region.id, store: this.#some(this.#free(region)) };
  }

  async #shrink(region: RegionInfo): Promise<void> {
    const voters = voterStores(region);
    if (voters.length <= this.#enough) return;
    const store = this.#some(voters);
    await this.#call('remove', (timeout) => this.#options.cluster.removePeer(region.id, store, { timeout }));
  }

  #free(region: RegionInfo): number[] {
    return freeStores(region, this.#world.stores);
  }

  get #enough(): number {
    return Math.min(VOTERS, this.#world.stores.length);
  }

  #begin(sentence: string): void {
    this.#ended = this.#options.began(this.#act, sentence);
  }

  #some<T>(all: readonly T[]): T {
    const one = all[Math.floor(this.#random() * all.length)];
    if (one === undefined) throw new Nothing();
    return one;
  }

  /** @throws RegionActFault when it hangs */
  #call<T>(what: string, call: (timeout: number) => Promise<T>): Promise<T> {
    const { clock } = this.#options;
    const left = Math.min(CALL_MS, this.#deadline - clock.now());
    if (left <= 0) throw new TroupeError('timeout', 'The act has taken its time.');
    return new Promise((resolve, reject) => {
      const timer = clock.setTimeout(
        () =>
          reject(
            new RegionActFault(`${what} hangs: it may take ${left} ms, and has taken ${GRACE_MS} ms more`),
          ),
        left + GRACE_MS,
      );
      call(left)
        .then(resolve, reject)
        .finally(() => clock.clearTimeout(timer));
    });
  }
}
