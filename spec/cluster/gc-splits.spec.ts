/** Old versions are removed from regions that are split and merged in the middle of it. */
import { expect } from 'chai';
import fc from 'fast-check';
import { TroupeError } from '../../cluster/errors.js';
import { compareBytes, spaceRange, txnKey } from '../../storage/keys.js';
import { GcWorld } from './gc-world.js';

/** More than two steps of a pass, each of 256 keys. */
const KEYS = 600;
const NO_KEY = new Uint8Array(0);
const nameOf = (i: number): string => `key ${1000 + i}`;

interface Act {
  readonly kind: 'split' | 'merge';
  /** Which removal of a pass it goes with. */
  readonly step: number;
  /** Where, as a part of all keys or regions. */
  readonly where: number;
}

class SplittingWorld {
  readonly done = { split: 0, merge: 0, removals: 0 };
  #acts: readonly Act[] = [];
  #step = 0;
  readonly #underWay: Promise<unknown>[] = [];

  constructor(readonly world: GcWorld) {
    const [store] = world.stores;
    if (store === undefined) throw new Error('no store');
    const { writes } = store.txn;
    const remove = writes.remove.bind(writes);
    writes.remove = (...removal) => {
      remove(...removal);
      this.#step++;
      this.done.removals++;
      for (const act of this.#acts) if (act.step === this.#step) this.#underWay.push(this.#act(act));
    };
  }

  /** From now on regions change while they are collected. */
  expect(acts: readonly Act[]): void {
    this.#acts = acts;
    this.#step = 0;
  }

  /** Lets time pass until everything below `timestamp` is gone. */
  async collected(timestamp: bigint): Promise<void> {
    await this.world.collected(timestamp);
    await this.world.until(Promise.all(this.#underWay));
    // A pass that a change has ended begins anew with the next look.
    await this.world.pass(25_000);
  }

  async write(value: string): Promise<bigint> {
    const { world } = this;
    await world.until(
      world.db.transaction(
        (txn) => {
          for (let i = 0; i < KEYS; i++) txn.put(nameOf(i), `${value} ${i}`);
        },
        { timeout: 30_000 },
      ),
    );
    return world.now();
  }

  /** Everything at a timestamp is what was written then. */
  async check(at: bigint, value: string): Promise<void> {
    const { first, ...found } = await this.world.at(at);
    expect(first).to.equal('v');
    const wrong = Array.from({ length: KEYS }, (_, i) => nameOf(i)).filter(
      (name, i) => found[name] !== `${value} ${i}`,
    );
    expect(wrong, `wrong at ${at}`).to.deep.equal([]);
    expect(Object.keys(found)).to.have.length(KEYS);
  }

  /** How many versions the store holds. */
  async versions(): Promise<number> {
    const engine = this.world.engines.get('store-1') ?? expect.fail('no engine');
    const { start, end } = spaceRange('txn');
    const scan = engine.scan('write', { start, end, limit: 100_000, keysOnly: true });
    return (await this.world.until(scan)).keys.length;
  }

  async #act({ kind, where }: Act): Promise<void> {
    const { cluster } = this.world.db;
    const timeout = 20_000;
    try {
      if (kind === 'split')
        await cluster.splitRegion(nameOf(Math.floor(KEYS * where)), { space: 'txn', timeout });
      else {
        const found = await this.world.pd.scanRegions(NO_KEY, NO_KEY, 0, { timeout });
        const lowest = txnKey(Buffer.from(nameOf(0)));
        const regions = found.flatMap(({ region }) =>
          region !== undefined && (region.endKey.length === 0 || compareBytes(region.endKey, lowest) > 0)
            ? [region]
            : [],
        );
        const at = Math.floor((regions.length - 1) * where);
        const [source, target] = [regions[at], regions[at + 1]];
        if (source === undefined || target === undefined) return;
        await cluster.mergeRegions(source.id, target.id, { timeout });
      }
      this.done[kind]++;
    } catch (error) {
      // Another change was under way.
      if (!(error instanceof TroupeError)) throw error;
    }
  }
}

describe('old versions of a region that is split and merged in the middle of a pass', function () {
  this.timeout(240_000);

  it('go, and every read at or above the safe point sees what it saw before', async () => {
    const act = fc.record({
      kind: fc.constantFrom('split' as const, 'split' as const, 'merge' as const),
      step: fc.integer({ min: 1, max: 5 }),
      where: fc.double({ min: 0, max: 0.999, noNaN: true }),
    });
    const acts = fc.array(act, { minLength: 2, maxLength: 5 });
    const sum = { split: 0, merge: 0, removals: 0 };
    await fc.assert(
      fc.asyncProperty(acts, acts, async (first, second) => {
        const world = await GcWorld.start(1);
        const splitting = new SplittingWorld(world);
        const before = await splitting.write('one');
        const held = await splitting.write('two');
        const view = await world.until(world.db.snapshot({ at: held }));
        const last = await splitting.write('three');

        splitting.expect(first);
        await splitting.collected(held);
        await splitting.check(held, 'two');
        await splitting.check(last, 'three');
        // Of each the version that is held and the one above it, and what the world itself wrote first.
        expect(await splitting.versions()).to.equal(2 * KEYS + 1);
        const lost = await world.at(before).catch((error: unknown) => error);
        expect(lost).to.be.instanceOf(TroupeError).with.property('reason', 'below-safe-point');

        await world.until(view.close());
        splitting.expect(second);
        await splitting.collected(last);
        await splitting.check(await world.now(), 'three');
        expect(await splitting.versions()).to.equal(KEYS + 1);
        for (const kind of ['split', 'merge', 'removals'] as const) sum[kind] += splitting.done[kind];
        await world.close();
      }),
      { numRuns: 4, seed: 5, endOnFailure: true },
    );
    expect(sum.split).to.be.greaterThan(2);
    expect(sum.merge).to.be.greaterThan(0);
    expect(sum.removals).to.be.greaterThan(20);
  });
});
