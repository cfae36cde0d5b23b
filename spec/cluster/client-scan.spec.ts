import { expect } from 'chai';
import fc from 'fast-check';
import type { Database } from '../../cluster/client/database.js';
import type { ScanOptions } from '../../cluster/client/raw.js';
import { ClientWorld, name } from './client-world.js';

async function collect(db: Database, options: ScanOptions): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key, value } of db.raw.scan(options)) {
    keys.push(name(key));
    expect(name(value)).to.equal(options.keysOnly ? '' : `v${name(key)}`);
  }
  return keys;
}

describe('a scan', () => {
  let world: ClientWorld;
  let db: Database;

  beforeEach(async () => {
    world = await ClientWorld.start();
    db = await world.connect();
  });

  afterEach(async () => {
    await world.settle(db.close());
    await world.close();
  });

  function fill(keys: Iterable<string>): void {
    for (const key of keys) world.data.set(key, Buffer.from(`v${key}`, 'latin1'));
  }

  it('is what a sorted map would give, whatever the regions, bounds, direction and limit', async () => {
    const byte = fc.constantFrom(0, 1, 0x61, 0x62, 0xfe, 0xff);
    const key = fc.array(byte, { minLength: 1, maxLength: 3 }).map((bytes) => String.fromCharCode(...bytes));
    const bytes = (text: string | undefined) =>
      text === undefined ? undefined : Buffer.from(text, 'latin1');
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          keys: fc.uniqueArray(key, { maxLength: 30 }),
          splits: fc.uniqueArray(key, { maxLength: 4 }),
          range: fc.oneof(
            fc.record({ prefix: key }),
            fc.record({ start: fc.option(key, { nil: undefined }), end: fc.option(key, { nil: undefined }) }),
          ),
          reverse: fc.boolean(),
          limit: fc.option(fc.nat(12), { nil: undefined }),
          keysOnly: fc.boolean(),
        }),
        async ({ keys, splits, range, reverse, limit, keysOnly }) => {
          const one = await ClientWorld.start();
          const client = await one.connect();
          for (const at of splits) splitAt(one, at);
          for (const at of keys) one.data.set(at, Buffer.from(`v${at}`, 'latin1'));
          const { prefix, start, end } = range as { prefix?: string; start?: string; end?: string };
          const given = { prefix: bytes(prefix), start: bytes(start), end: bytes(end) };
          const options = Object.fromEntries(
            Object.entries({ ...given, limit }).filter(([, value]) => value !== undefined),
          );
          const found = await one.settle(collect(client, { ...options, reverse, keysOnly }));
          const expected = keys
            .filter(
              (at) =>
                (prefix === undefined || at.startsWith(prefix)) &&
                (!start || at >= start) &&
                (!end || at < end),
            )
            .sort();
          if (reverse) expected.reverse();
          expect(found).to.deep.equal(expected.slice(0, limit));
          await one.settle(client.close());
          await one.close();
        },
      ),
      { numRuns: 150, seed: 7 },
    );
  });

  it('comes in pages of growing, bounded size, the next one asked for before it is needed', async () => {
    fill(Array.from({ length: 8_000 }, (_, i) => `k${String(i).padStart(5, '0')}`));
    const scan = db.raw.scan();
    await world.settle(scan.next());
    await world.clock.advance(10);
    const limits = () => world.requests('read').map(({ rawScan }) => rawScan?.limit);
    expect(limits()).to.deep.equal([256, 512]);
    expect(await world.settle(collect(db, {}))).to.have.length(8_000);
    expect(limits().slice(2)).to.deep.equal([256, 512, 1024, 2048, 2048, 2048, 2048]);
  });

  it('hands a page out when the next one has been asked for: who takes it without a pause holds the loop', async () => {
    fill(Array.from({ length: 2_000 }, (_, i) => `k${String(i).padStart(5, '0')}`));
    const asked: string[] = [];
    world.network.filter(({ from, to }) => {
      if (from === 'client-1' && to === 'store-1') asked.push(to);
      return true;
    });
    const scan = db.raw.scan();
    const whenHandedOut = await world.settle(scan.next().then(() => asked.length));
    expect(whenHandedOut).to.equal(2);
  });

  it('asks for no more than its limit', async () => {
    fill(Array.from({ length: 2_000 }, (_, i) => `k${String(i).padStart(5, '0')}`));
    expect(await world.settle(collect(db, { limit: 600 }))).to.have.length(600);
    expect(world.requests('read').map(({ rawScan }) => rawScan?.limit)).to.deep.equal([256, 344]);
  });

  it('stops asking when its consumer stops', async () => {
    fill(Array.from({ length: 2_000 }, (_, i) => `k${String(i).padStart(5, '0')}`));
    const first = async () => {
      for await (const { key } of db.raw.scan()) return name(key);
      return undefined;
    };
    expect(await world.settle(first())).to.equal('k00000');
    await world.clock.advance(1_000);
    expect(world.requests('read').length).to.be.lessThanOrEqual(2);
  });

  it('answers next() calls in order, also those that nobody waited for', async () => {
    fill(['a', 'b', 'c']);
    const scan = db.raw.scan();
    const results = await world.settle(Promise.all([scan.next(), scan.next(), scan.next(), scan.next()]));
    expect(results.map(({ done, value }) => (done ? 'end' : name(value.key)))).to.deep.equal([
      'a',
      'b',
      'c',
      'end',
    ]);
  });

  it('ends a next() that waits when it is returned', async () => {
    world.script = () => 'silence';
    const scan = db.raw.scan();
    const next = scan.next();
    await world.clock.advance(10);
    await scan.return?.();
    expect((await world.settle(next, 100)).done).to.equal(true);
  });

  it('follows splits that happen between its pages, and skips nothing', async () => {
    const keys = Array.from({ length: 1_500 }, (_, i) => `k${String(i).padStart(5, '0')}`);
    fill(keys);
    let pages = 0;
    world.script = (_, serve) => {
      if (++pages === 2) world.split('k00700', 2);
      if (pages === 4) world.split('k01000', 3);
      return serve();
    };
    expect(await world.settle(collect(db, {}))).to.deep.equal(keys);
  });

  it('gives what came before an error, then the error, then the end', async () => {
    fill(Array.from({ length: 600 }, (_, i) => `k${String(i).padStart(5, '0')}`));
    let pages = 0;
    world.script = (_, serve) => (++pages > 1 ? 'silence' : serve());
    const scan = db.raw.scan({ timeout: 300 });
    let count = 0;
    const error = await world.settle(
      (async () => {
        for (;;) {
          const { done } = await scan.next();
          if (done) return undefined;
          count++;
        }
      })().catch((reason: { code: string }) => reason.code),
    );
    expect([count, error]).to.deep.equal([256, 'timeout']);
    expect((await scan.next()).done).to.equal(true);
  });
});

function splitAt(world: ClientWorld, at: string): void {
  const stored = Buffer.concat([Buffer.from('r'), Buffer.from(at, 'latin1')]);
  const old = world.regionOf(stored);
  const version = (old.regionEpoch?.version ?? 0) + 1;
  const id = Math.max(...world.regions.map((one) => one.id)) + 1;
  const regionEpoch = { confVer: 1, version };
  const peers = [1, 2, 3].map((storeId) => ({ id: id * 10 + storeId, storeId, role: 0 as const }));
  world.regions = world.regions.flatMap((one) =>
    one.id === old.id
      ? [
          { ...old, endKey: stored, regionEpoch },
          { ...old, id, startKey: stored, regionEpoch, peers },
        ]
      : [one],
  );
  world.leaders.set(id, (id % 3) + 1);
}
