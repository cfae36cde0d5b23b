import { expect } from 'chai';
import { seededRandom } from '../../actors/index.js';
import type { metapb } from '../../storage/proto/index.js';
import {
  regionOn,
  type Sending,
  type SnapshotStore,
  SnapshotsWorld,
  someValues,
} from '../cluster/snapshots-world.js';
import { upTo } from '../extent.js';

/** Runs of the scenario below. */
const SEEDS = upTo(40, 200);
/** Milliseconds of virtual time with faults. */
const STORM = 15_000;

/**
 * One store sends the snapshots of two regions to two others, again and again until they have arrived, while the
 * network loses, duplicates, delays and reorders, connections and links break, and stores lose power. Then the storm ends
 * and everything has to arrive.
 */
class Storm {
  readonly world: SnapshotsWorld;
  readonly #random: () => number;
  readonly #regions: metapb.Region[] = [regionOn(1, [1, 2, 3]), regionOn(2, [1, 2, 3])];
  readonly #stores = new Map<number, SnapshotStore>();
  /** Hash of each region at each index of which a snapshot was taken. */
  readonly #hashes = new Map<string, string>();
  /** All that were sent by a store that did not lose its power meanwhile. */
  #sendings: Sending[] = [];
  readonly #applied = new Map<number, number>();
  crashes = 0;

  constructor(readonly seed: number) {
    // What happens is drawn apart from what the network draws, so that a change of one leaves the other.
    this.#random = seededRandom(seed * 7 + 1);
    const some = (most: number) => (this.#random() < 0.5 ? 0 : most * this.#random());
    const faults = {
      delay: [0, some(60)] as const,
      loss: some(0.2),
      duplicate: some(0.2),
      reorder: some(0.2),
    };
    this.world = new SnapshotsWorld(seed, faults, { creditChunks: 1 + this.#draw(8) });
  }

  async run(): Promise<void> {
    const { world } = this;
    for (const id of [1, 2, 3]) await this.#start(id);
    for (const region of this.#regions) {
      const values = someValues(world.random, 16 + this.#draw(40));
      await world.settle(this.#store(1).makeRegion(region, 10, values));
      this.#applied.set(region.id, 10);
    }
    const end = world.clock.now() + STORM * this.#random();
    for (let step = 0; world.clock.now() < end; step++) {
      await this.#disturb();
      await this.#sendMissing();
      await world.clock.advance(200 * this.#random());
      if (step % 10 === 0) await this.#check();
    }
    await this.#calm();
    for (let round = 0; !this.#allThere(); round++) {
      expect(round, 'rounds until everything has arrived').to.be.below(200);
      await this.#sendMissing();
      await world.clock.advance(5_000);
      await this.#check();
    }
    // Whatever still runs comes to its end, and gives everything back.
    await world.until('the end of every transfer', () => this.#idle(), 4_000_000);
    await world.clock.advance(1_000_000);
    await this.#check();
    for (const store of this.#stores.values()) {
      expect(await world.settle(store.leftovers()), `held by ${store.system.node}`).to.deep.equal([]);
    }
    for (const { reports } of this.#sendings) expect(reports).to.have.lengthOf(1);
    await world.close();
  }

  async #start(id: number): Promise<void> {
    this.#stores.set(id, await this.world.start(id));
  }

  #store(id: number): SnapshotStore {
    const store = this.#stores.get(id);
    if (store === undefined) throw new Error(`store ${id} is down`);
    return store;
  }

  #draw(below: number): number {
    return Math.floor(below * this.#random());
  }

  async #disturb(): Promise<void> {
    const { world } = this;
    const id = 1 + this.#draw(3);
    const kind = this.#random();
    if (kind < 0.1) {
      world.network.disconnect(`store-${id}`);
    } else if (kind < 0.3) {
      world.network.reconnect(`store-${id}`);
    } else if (kind < 0.4) {
      world.network.partition(
        [`store-${id}`],
        [1, 2, 3].filter((n) => n !== id).map((n) => `store-${n}`),
      );
    } else if (kind < 0.5) {
      world.network.heal();
    } else if (kind < 0.6) {
      await this.#crash(id);
    } else if (kind < 0.7) {
      await this.#write();
    } else if (kind < 0.75) {
      this.#store(id).takes = false;
    } else if (kind < 0.8) {
      this.#store(id).takes = true;
    }
  }

  async #crash(id: number): Promise<void> {
    this.crashes++;
    this.world.crash(id);
    // Nobody is left to hear what became of them.
    if (id === 1) this.#sendings = [];
    await this.#start(id);
  }

  /** A synced one: the sender's own log has no part in this. */
  async #write(): Promise<void> {
    const region = this.#regions[this.#draw(2)] as metapb.Region;
    const index = (this.#applied.get(region.id) ?? 0) + 1;
    this.#applied.set(region.id, index);
    const store = this.#store(1);
    await this.world.settle(store.put(region, index, `key ${index}`, Buffer.from(`value ${index}`)));
    await this.world.settle(store.engine.sync());
  }

  async #sendMissing(): Promise<void> {
    for (const region of this.#regions) {
      for (const id of [2, 3]) {
        if (this.#store(id).regions.has(region.id)) continue;
        const busy = this.#store(1)
          .snapshots.status()
          .some((one) => one.region === region.id && one.peer === 100 + id);
        if (busy) continue;
        const sending = await this.world.settle(this.#store(1).send(region, 100 + id));
        if (sending === undefined) continue;
        this.#sendings.push(sending);
        this.#hashes.set(`${region.id} ${sending.message.snapshot?.index}`, sending.hash);
      }
    }
  }

  /** Nobody ever reports twice, and what is installed is what was sent. */
  async #check(): Promise<void> {
    for (const { reports } of this.#sendings) expect(reports.length).to.be.at.most(1);
    for (const store of this.#stores.values()) {
      if (store.failure !== undefined) throw store.failure;
      if (store.id === 1) continue;
      for (const region of store.regions.values()) {
        if (store.installing.has(region.id)) continue;
        const index = await this.world.settle(store.appliedIndex(region.id));
        const hash = await this.world.settle(store.hashOf(region));
        expect(hash, `region ${region.id} at ${index}`).to.equal(this.#hashes.get(`${region.id} ${index}`));
      }
    }
  }

  async #calm(): Promise<void> {
    const { network } = this.world;
    network.faults = { ...network.faults, loss: 0, duplicate: 0, reorder: 0 };
    network.heal();
    for (const id of [1, 2, 3]) {
      network.reconnect(`store-${id}`);
      this.#store(id).takes = true;
    }
  }

  #allThere(): boolean {
    return [2, 3].every((id) => this.#regions.every((region) => this.#store(id).regions.has(region.id)));
  }

  #idle(): boolean {
    return [...this.#stores.values()].every(({ snapshots }) => snapshots.held.transfers === 0);
  }
}

describe('snapshots in a storm', () => {
  it(`arrive whole or are reported lost, and leave nothing behind (${SEEDS} seeds)`, async () => {
    let crashes = 0;
    for (let seed = 1; seed <= SEEDS; seed++) {
      const storm = new Storm(seed);
      try {
        await storm.run();
      } catch (error) {
        throw new Error(`seed ${seed}: ${error instanceof Error ? error.message : error}`, { cause: error });
      }
      crashes += storm.crashes;
    }
    expect(crashes).to.be.above(SEEDS / 2);
  });
});
