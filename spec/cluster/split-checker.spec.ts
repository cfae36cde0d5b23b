import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { type Logger, realClock, silentLogger, VirtualClock } from '../../actors/index.js';
import { TroupeError } from '../../cluster/errors.js';
import {
  DEFAULT_SPLIT_CHECK,
  RegionSize,
  type SplitCandidate,
  SplitChecker,
  type SplitCheckLimits,
  splitCheckLimits,
} from '../../cluster/store/split/index.js';
import { TaskQueue } from '../../cluster/tasks.js';
import { type Engine, escapeKey, openRocksEngine, SimulatedDisk } from '../../storage/index.js';
import { metapb } from '../../storage/proto/index.js';
import { ForwardingEngine } from '../simulation/disk-record.js';
import { bytes } from '../storage/region-data.js';

/** Notes what was read, and may take its time. */
class ScannedEngine extends ForwardingEngine {
  scans = 0;
  before: () => Promise<void> = async () => {};

  override async scan(...call: Parameters<Engine['scan']>) {
    this.scans++;
    await this.before();
    return this.inner.scan(...call);
  }
}

/** A region with its data, as a leader has it. */
class LedRegion implements SplitCandidate {
  region: metapb.Region;
  size = new RegionSize();
  busy = false;

  constructor(id: number, start: string, end: string, version = 1) {
    const [startKey, endKey] = [bytes(start), bytes(end)];
    this.region = metapb.Region.from({ id, startKey, endKey, regionEpoch: { confVer: 1, version } });
  }
}

const INTERVAL = 1_000;
/** Of one put of a key like `r00012`. */
const PAIR = 100;

class World {
  readonly clock = new VirtualClock();
  readonly tasks = new TaskQueue({ clock: this.clock, atOnce: 2, capacity: 10 });
  readonly led: LedRegion[] = [];
  readonly splits: { readonly id: number; readonly keys: string[]; readonly reason: string }[] = [];
  readonly warnings: string[] = [];
  engine!: ScannedEngine;
  checker!: SplitChecker;

  async start(limits: Partial<SplitCheckLimits>): Promise<void> {
    this.engine = new ScannedEngine(await new SimulatedDisk({ random: () => 0 }).open());
    const logger: Logger = { ...silentLogger, warn: (_, message) => this.warnings.push(message ?? '') };
    this.checker = new SplitChecker({
      clock: this.clock,
      engine: this.engine,
      tasks: this.tasks,
      logger,
      candidates: () => this.led,
      split: ({ id }, keys, reason) => this.splits.push({ id, keys: keys.map(escapeKey), reason }),
      limits: { interval: INTERVAL, ...limits },
    });
    this.checker.start();
  }

  lead(id: number, start = 'r', end = 's'): LedRegion {
    const led = new LedRegion(id, start, end);
    this.led.push(led);
    return led;
  }

  /** Applies puts of `PAIR` bytes each. */
  async put(led: LedRegion, from: number, to: number): Promise<void> {
    const batch = this.engine.batch();
    for (let i = from; i < to; i++) batch.put('default', keyOf(i), new Uint8Array(PAIR - 6));
    await this.engine.write(batch);
    for (let i = from; i < to; i++) led.size.put(PAIR);
  }

  async delete(led: LedRegion, from: number, to: number): Promise<void> {
    const batch = this.engine.batch();
    for (let i = from; i < to; i++) batch.delete('default', keyOf(i));
    await this.engine.write(batch);
    for (let i = from; i < to; i++) led.size.deleted();
  }

  /** Applies the newest split as a leader does: the last part keeps the id. */
  applySplit(led: LedRegion): LedRegion[] {
    const keys = this.splits.at(-1)?.keys ?? [];
    const version = (led.region.regionEpoch?.version ?? 0) + keys.length;
    const bounds = [Buffer.from(led.region.startKey).toString(), ...keys];
    const others = led.size.divide(keys.length + 1).map((size, i) => {
      const part = new LedRegion(100 + this.led.length + i, bounds[i] ?? '', bounds[i + 1] ?? '', version);
      part.size = size;
      return part;
    });
    led.region = {
      ...led.region,
      startKey: bytes(keys.at(-1) ?? ''),
      regionEpoch: { confVer: 1, version },
    };
    this.led.push(...others);
    return others;
  }

  /** Until the next look, and what it sets going, is over. */
  async look(times = 1): Promise<void> {
    await this.clock.advance(times * INTERVAL);
  }
}

const keyOf = (i: number): Buffer => Buffer.from(`r${String(i).padStart(5, '0')}`);

describe('Split checker', () => {
  let world: World;

  beforeEach(() => {
    world = new World();
  });

  afterEach(async () => {
    world.checker.stop();
    await world.tasks.close();
    expect(world.warnings).to.deep.equal([]);
  });

  describe('with parts of 1,000 and regions of up to 1,500 bytes', () => {
    beforeEach(() => world.start({ splitBytes: 1_000, maxBytes: 1_500 }));

    it('field note 18: splits a region as often as it grows, because sizes follow puts and deletes and begin anew after a split', async () => {
      const led = world.lead(1);
      await world.put(led, 0, 15);
      await world.look(3);
      expect(world.splits).to.deep.equal([]);
      expect(led.size.bytes).to.equal(1_500);
      // Deleted and written again, it does not seem any larger.
      for (let round = 0; round < 5; round++) {
        await world.delete(led, 0, 10);
        expect(led.size.bytes).to.equal(500);
        await world.put(led, 0, 10);
        await world.look();
      }
      expect([led.size.bytes, led.size.keys]).to.deep.equal([1_500, 15]);
      expect(world.splits).to.deep.equal([]);
      await world.put(led, 15, 18);
      await world.look();
      expect(world.splits[0]).to.deep.equal({ id: 1, keys: ['r00010'], reason: 'size' });

      const [left] = world.applySplit(led);
      expect([led.size.bytes, led.size.keys]).to.deep.equal([900, 9]);
      expect([left?.size.bytes, left?.size.keys]).to.deep.equal([900, 9]);
      await world.look();
      // Both were counted, not halved.
      expect([led.size.bytes, left?.size.bytes]).to.deep.equal([800, 1_000]);

      for (let grown = 18; grown < 60; grown += 8) {
        await world.put(led, grown, grown + 8);
        const before = world.splits.length;
        await world.look();
        if (world.splits.length > before) world.applySplit(led);
      }
      await world.look();
      expect(world.splits.flatMap(({ keys }) => keys)).to.deep.equal([
        'r00010',
        'r00020',
        'r00030',
        'r00040',
        'r00050',
        'r00060',
      ]);
      for (const { size } of world.led) expect(size.bytes).to.be.within(1, 1_500);
    });

    it('cuts a region that has grown fast into many parts at once', async () => {
      const led = world.lead(1);
      await world.put(led, 0, 65);
      await world.look();
      expect(world.splits[0]?.keys).to.deep.equal([
        'r00010',
        'r00020',
        'r00030',
        'r00040',
        'r00050',
        'r00060',
      ]);
    });

    it('reads nothing where little was written, or where the region cannot be too large', async () => {
      const led = world.lead(1);
      await world.put(led, 0, 10);
      await world.look();
      const { scans } = world.engine;
      await world.look(5);
      await world.put(led, 10, 15);
      await world.look(5);
      expect(world.engine.scans).to.equal(scans);
    });

    it('reads a region that is overwritten again and again ever more rarely', async () => {
      const led = world.lead(1);
      await world.put(led, 0, 15);
      await world.look();
      const scanned: number[] = [];
      for (let round = 0; round < 60; round++) {
        const { scans } = world.engine;
        await world.put(led, 0, 1);
        await world.look();
        if (world.engine.scans > scans) scanned.push(round);
      }
      // After 63, 125, 250, 500 and then each 1,000 bytes.
      expect(scanned).to.deep.equal([0, 2, 5, 10, 20, 30, 40, 50]);
      expect(led.size.bytes).to.equal(1_500 + 9 * PAIR);
      expect(world.splits).to.deep.equal([]);
      await world.put(led, 15, 26);
      await world.look();
      expect(world.splits).to.have.length(1);
    });

    it('asks for a split again while it does not happen, without reading again', async () => {
      const led = world.lead(1);
      await world.put(led, 0, 20);
      await world.look();
      const { scans } = world.engine;
      await world.look(4);
      expect(world.splits.map(({ keys }) => keys)).to.deep.equal(new Array(5).fill(['r00010']));
      expect(world.engine.scans).to.equal(scans);
      led.busy = true;
      await world.look(5);
      expect(world.splits).to.have.length(5);
      led.busy = false;
      await world.delete(led, 0, 20);
      await world.look(10);
      expect(world.splits, 'as often as it is allowed to').to.have.length(7);
      expect(world.engine.scans, 'and then read').to.be.above(scans);
      expect(led.size.bytes).to.equal(0);
    });

    it('asks for no split of a region whose range has changed while it was read', async () => {
      const led = world.lead(1);
      await world.put(led, 0, 20);
      let reads = 0;
      world.engine.before = async () => {
        if (++reads !== 4) return;
        led.region = { ...led.region, endKey: bytes('r00015'), regionEpoch: { confVer: 1, version: 2 } };
      };
      await world.look();
      expect(reads).to.be.at.least(4);
      expect(world.splits).to.deep.equal([]);
      expect(led.size.scanned).to.equal(false);
      await world.look();
      expect(led.size.bytes).to.equal(1_500);
      expect(world.splits).to.deep.equal([]);
    });

    it('tells the region as it is after a change of its members', async () => {
      const led = world.lead(1);
      await world.put(led, 0, 20);
      const told: metapb.Region[] = [];
      world.checker.stop();
      const checker = new SplitChecker({
        clock: world.clock,
        engine: world.engine,
        tasks: world.tasks,
        logger: silentLogger,
        candidates: () => world.led,
        split: (region) => told.push(region),
        limits: { interval: INTERVAL, splitBytes: 1_000 },
      });
      checker.start();
      world.engine.before = async () => {
        led.region = { ...led.region, regionEpoch: { confVer: 2, version: 1 } };
      };
      await world.look();
      checker.stop();
      expect(told.map(({ regionEpoch }) => regionEpoch?.confVer)).to.deep.equal([2]);
    });

    for (const [what, change] of [
      ['has become busy', (led: LedRegion) => (led.busy = true)],
      ['is led elsewhere', () => world.led.pop()],
      ['got a snapshot', (led: LedRegion) => led.size.unknown()],
      ['is of a checker that stops', () => world.checker.stop()],
    ] as const) {
      it(`asks for no split of a region that ${what} while it was read`, async () => {
        const led = world.lead(1);
        await world.put(led, 0, 20);
        let reads = 0;
        world.engine.before = async () => {
          if (++reads === 5) change(led);
        };
        await world.look();
        expect(reads).to.be.at.least(5);
        expect(world.splits).to.deep.equal([]);
      });
    }

    it('leaves a busy region alone', async () => {
      const led = world.lead(1);
      led.busy = true;
      await world.put(led, 0, 20);
      await world.look(3);
      expect([world.splits.length, world.engine.scans]).to.deep.equal([0, 0]);
      led.busy = false;
      await world.look();
      expect(world.splits).to.have.length(1);
    });

    it('counts what is written during a scan', async () => {
      const led = world.lead(1);
      await world.put(led, 0, 12);
      let reads = 0;
      world.engine.before = async () => {
        // The last one.
        if (++reads !== 7) return;
        await world.put(led, 12, 14);
        await world.delete(led, 0, 1);
      };
      await world.look();
      expect(reads).to.equal(7);
      expect([led.size.bytes, led.size.keys]).to.deep.equal([1_300, 13]);
    });

    it('reads one region after the other, and each once', async () => {
      const all = [1, 2, 3, 4].map((id) => world.lead(id, `r000${id}`, `r000${id + 1}`));
      for (const [i, led] of all.entries()) await world.put(led, 10 * (i + 1), 10 * (i + 1) + 9);
      let reading = 0;
      let most = 0;
      world.engine.before = async () => {
        most = Math.max(most, ++reading);
        await new Promise<void>((resolve) => world.clock.setTimeout(resolve, 100));
        reading--;
      };
      await world.look(10);
      expect(most).to.equal(1);
      expect(all.map(({ size }) => size.bytes)).to.deep.equal([900, 900, 900, 900]);
      expect(world.engine.scans, 'three families, sampled and read').to.equal(4 * 7);
    });

    it('does nothing more once it is stopped', async () => {
      const led = world.lead(1);
      await world.put(led, 0, 20);
      world.engine.before = async () => {
        await new Promise<void>((resolve) => world.clock.setTimeout(resolve, 100));
      };
      await world.clock.advance(INTERVAL + 450);
      const { scans } = world.engine;
      world.checker.stop();
      world.checker.stop();
      world.checker.start();
      await world.look(5);
      expect(scans).to.be.above(3);
      expect(world.engine.scans).to.equal(scans);
      expect(world.splits).to.deep.equal([]);
    });

    it('counts a region anew when ranges of it were deleted, one in six looks', async () => {
      const all = [1, 2].map((id) => world.lead(id, `r000${id}`, `r000${id + 1}`));
      for (const [i, led] of all.entries()) await world.put(led, 10 * (i + 1), 10 * (i + 1) + 9);
      await world.look();
      const batch = world.engine.batch();
      batch.deleteRange('default', keyOf(0), keyOf(100));
      await world.engine.write(batch);
      for (const { size } of all) size.rangeDeleted();
      await world.look();
      expect(all.map(({ size }) => size.bytes)).to.deep.equal([0, 900]);
      // It is no reason to put the other one off.
      all[0]?.size.rangeDeleted();
      await world.look(6);
      expect(all.map(({ size }) => size.bytes)).to.deep.equal([0, 0]);
    });

    it('goes on after a read that failed', async () => {
      const led = world.lead(1);
      await world.put(led, 0, 20);
      world.engine.before = async () => {
        world.engine.before = async () => {};
        throw new Error('a bad day');
      };
      await world.look();
      expect(world.warnings.splice(0)).to.deep.equal(['regions could not be checked for splits']);
      await world.look();
      expect(world.splits).to.have.length(1);
    });
  });

  it('splits by the number of keys too', async () => {
    await world.start({ splitKeys: 10 });
    const led = world.lead(1);
    await world.put(led, 0, 16);
    await world.look();
    expect(world.splits).to.deep.equal([{ id: 1, keys: ['r00010'], reason: 'size' }]);
    expect(world.checker.limits.maxKeys).to.equal(15);
  });

  it('finds no place in a single giant key, and does not look for one all the time', async () => {
    await world.start({ splitBytes: 1_000, maxBytes: 1_500 });
    const led = world.lead(1);
    const batch = world.engine.batch();
    batch.put('default', keyOf(1), new Uint8Array(100_000));
    await world.engine.write(batch);
    led.size.put(100_006);
    await world.look();
    const { scans } = world.engine;
    await world.look(10);
    expect(world.engine.scans).to.equal(scans);
    expect(world.splits).to.deep.equal([]);
  });

  it('knows from the guess alone that a region is far from large limits', async () => {
    await world.start({});
    const led = world.lead(1);
    await world.put(led, 0, 1_000);
    await world.look();
    expect(world.engine.scans).to.equal(3);
    expect([led.size.bytes, led.size.keys, led.size.scanned]).to.deep.equal([100_000, 1_000, false]);
    await world.look(10);
    expect(world.engine.scans).to.equal(3);
  });
});

describe('Split checker on RocksDB', () => {
  let path: string;
  let engine: Engine;

  beforeEach(async () => {
    path = await mkdtemp(join(tmpdir(), 'troupe-checker-'));
    engine = await openRocksEngine({ path });
  });

  afterEach(async () => {
    await engine.close();
    await rm(path, { recursive: true, force: true });
  });

  for (const where of ['memtables', 'tables']) {
    it(`splits a region of some hundred kilobytes in ${where}, of which it knew nothing`, async () => {
      const batch = engine.batch();
      for (let i = 0; i < 5_000; i++) batch.put('default', keyOf(i), new Uint8Array(PAIR - 6));
      await engine.write(batch);
      if (where === 'tables') {
        await engine.close();
        engine = await openRocksEngine({ path });
      }
      const tasks = new TaskQueue({ clock: realClock, atOnce: 2, capacity: 10 });
      const led = new LedRegion(1, 'r', 's');
      const keys = await new Promise<readonly Uint8Array[]>((resolve) => {
        const checker = new SplitChecker({
          clock: realClock,
          engine,
          tasks,
          logger: silentLogger,
          candidates: () => [led],
          split: (_, found) => {
            checker.stop();
            resolve(found);
          },
          limits: { interval: 1, splitBytes: 256 << 10 },
        });
        checker.start();
      });
      await tasks.close();
      expect(keys.map(escapeKey)).to.deep.equal(['r02621']);
      expect([led.size.bytes, led.size.keys]).to.deep.equal([500_000, 5_000]);
    });
  }
});

describe('Limits of splits', () => {
  it("are TiKV's by default, and keep their proportion where one of two is given", () => {
    expect(splitCheckLimits()).to.deep.equal(DEFAULT_SPLIT_CHECK);
    expect(DEFAULT_SPLIT_CHECK.maxBytes).to.equal(150_994_944);
    expect(splitCheckLimits({ splitBytes: 256 << 10 }).maxBytes).to.equal(384 << 10);
    expect(splitCheckLimits({ maxBytes: 1 })).to.include({ splitBytes: 1, maxBytes: 1 });
    expect(splitCheckLimits({ maxKeys: 30 })).to.include({ splitKeys: 20, maxKeys: 30 });
    expect(splitCheckLimits({ splitKeys: 10, maxKeys: 11 })).to.include({ splitKeys: 10, maxKeys: 11 });
  });

  for (const [wrong, sentence] of [
    [{ splitBytes: 10, maxBytes: 9 }, /splitBytes is 10, but a region may have only 9 \(maxBytes\)/],
    [{ splitKeys: 10, maxKeys: 9 }, /splitKeys is 10/],
    [{ splitBytes: 0 }, /splitBytes is 0: give a whole number above zero/],
    [{ maxParts: 1.5 }, /maxParts is 1.5/],
    [{ interval: Number.NaN }, /interval is NaN/],
  ] as const) {
    it(`refuse ${JSON.stringify(wrong)}`, () => {
      expect(() => splitCheckLimits(wrong))
        .to.throw(TroupeError, sentence)
        .with.property('code', 'usage');
    });
  }
});

describe('Size of a region', () => {
  const limits = splitCheckLimits({ splitBytes: 1_600, maxBytes: 2_400 });
  const known = (size: number, keys: number): RegionSize => {
    const region = new RegionSize();
    region.set(size, keys);
    region.checked(false);
    return region;
  };
  const of = ({ bytes: size, keys }: RegionSize) => [size, keys];

  it('is unknown at first and after a snapshot, and due for a check', () => {
    const size = new RegionSize();
    size.put(10);
    expect(of(size)).to.deep.equal([undefined, undefined]);
    expect(size.due(limits)).to.equal(true);
    size.set(1_000, 10);
    size.checked(true);
    expect(size.due(limits)).to.equal(false);
    size.unknown();
    expect(of(size)).to.deep.equal([undefined, undefined]);
    expect(size.due(limits)).to.equal(true);
  });

  it('follows puts and deletions, and never falls below nothing', () => {
    const size = known(1_000, 10);
    size.put(300);
    expect(of(size)).to.deep.equal([1_300, 11]);
    size.deleted(200);
    expect(of(size)).to.deep.equal([1_100, 10]);
    size.deleted();
    expect(of(size)).to.deep.equal([990, 9]);
    for (let i = 0; i < 20; i++) size.deleted();
    expect(of(size)).to.deep.equal([0, 0]);
  });

  it('is due when it seems too large and a sixteenth of a part was written', () => {
    const size = known(2_400, 10);
    size.put(99);
    expect(size.due(limits)).to.equal(false);
    size.put(1);
    expect(size.due(limits)).to.equal(true);
    const small = known(100, 10);
    small.put(2_300);
    expect(small.due(limits)).to.equal(false);
    small.put(1);
    expect(small.due(limits)).to.equal(true);
  });

  it('is due when it may be too large in spite of deletions, and a whole part was written', () => {
    const size = known(2_400, 10);
    size.deleted(1_000);
    size.put(1_599);
    size.deleted(1_000);
    expect([size.exceeds(limits), size.mayExceed(limits), size.due(limits)]).to.deep.equal([
      false,
      true,
      false,
    ]);
    size.put(1);
    expect(size.due(limits)).to.equal(true);
  });

  it('is divided into equal shares by a split, each due for a check and perhaps as large as the whole', () => {
    const size = known(2_400, 30);
    const parts = size.divide(3);
    for (const part of [size, ...parts]) {
      expect(of(part)).to.deep.equal([800, 10]);
      expect(part.due(limits)).to.equal(true);
      part.checked(false);
      expect([part.due(limits), part.mayExceed(limits)]).to.deep.equal([false, false]);
      part.put(99);
      expect([part.exceeds(limits), part.mayExceed(limits)]).to.deep.equal([false, true]);
      expect(part.due(limits)).to.equal(false);
      part.put(1);
      expect(part.due(limits), 'to guess again is cheap').to.equal(true);
    }
    expect(parts).to.have.length(2);
    expect(of(new RegionSize().divide(2)[0] as RegionSize)).to.deep.equal([undefined, undefined]);
  });

  it('is added up by a merge, and unknown when one of the two is', () => {
    const size = known(1_000, 10);
    size.merge(known(500, 20));
    expect(of(size)).to.deep.equal([1_500, 30]);
    expect([size.scanned, size.due(limits)]).to.deep.equal([false, true]);
    size.merge(new RegionSize());
    expect(of(size)).to.deep.equal([undefined, undefined]);
  });

  it('takes the result of a scan with what was applied since, but none of before a split', () => {
    const size = known(1_000, 10);
    const mark = size.mark();
    size.put(100);
    size.deleted(50);
    expect(size.set(2_000, 20, mark)).to.equal(true);
    expect(of(size)).to.deep.equal([2_050, 20]);
    const old = size.mark();
    size.divide(2);
    expect(size.set(9_000, 90, old)).to.equal(false);
    expect(of(size)).to.deep.equal([1_025, 10]);
  });

  it('wants to be counted anew after many deletions', () => {
    const size = known(2_000, 20);
    for (let i = 0; i < 3; i++) size.deleted();
    expect(size.wantsRecount(limits)).to.equal(false);
    size.deleted();
    expect(size.wantsRecount(limits)).to.equal(true);
    size.set(1_600, 16);
    expect(size.wantsRecount(limits)).to.equal(false);
    const mark = size.mark();
    size.rangeDeleted();
    size.set(1_600, 16, mark);
    expect(size.wantsRecount(limits), 'it happened behind the scan').to.equal(true);
  });
});
