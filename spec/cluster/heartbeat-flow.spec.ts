import { expect } from 'chai';
import type { pdpb } from '../../cluster/proto/index.js';
import { FlowCount, FlowMeter } from '../../cluster/store/region-flow.js';
import { encodeRawValue, rawKey } from '../../storage/index.js';
import { HeartbeatWorld } from './heartbeat-world.js';

/** Milliseconds between two heartbeats of a region that is awake. */
const INTERVAL_MS = 10_000;
const VALUE = 'v'.repeat(100);

const pairBytes = (key: string, value: string): number =>
  rawKey(Buffer.from(key)).length + encodeRawValue(Buffer.from(value)).length;

type Flow = { -readonly [K in 'bytesWritten' | 'keysWritten' | 'bytesRead' | 'keysRead']: number };

function sum(told: readonly Flow[]): Flow {
  const total = { bytesWritten: 0, keysWritten: 0, bytesRead: 0, keysRead: 0 };
  for (const { bytesWritten, keysWritten, bytesRead, keysRead } of told) {
    total.bytesWritten += bytesWritten;
    total.keysWritten += keysWritten;
    total.bytesRead += bytesRead;
    total.keysRead += keysRead;
  }
  return total;
}

const flowOf = ({ bytesWritten, keysWritten, bytesRead, keysRead }: Flow): Flow => ({
  bytesWritten,
  keysWritten,
  bytesRead,
  keysRead,
});

/** Intervals follow each other without a gap and without an overlap. */
function expectContiguous(told: readonly { readonly interval?: pdpb.TimeInterval | undefined }[]): void {
  const intervals = told.flatMap(({ interval }) => (interval === undefined ? [] : [interval]));
  expect(intervals.length).to.be.greaterThan(1);
  for (const [i, { startTimestamp, endTimestamp }] of intervals.entries()) {
    expect(endTimestamp).to.be.greaterThan(startTimestamp);
    if (i > 0) expect(startTimestamp).to.equal(intervals[i - 1]?.endTimestamp);
  }
}

/** Puts ten keys, deletes one of them, gets two, one of which is not there, and scans the nine. */
async function useRegion(world: HeartbeatWorld): Promise<Flow> {
  for (let i = 0; i < 10; i++) await world.put(`k${i}`, VALUE);
  await world.until(world.db.raw.delete('k9'));
  await world.get('k0');
  await world.get('none');
  const page = async () => {
    let keys = 0;
    for await (const { key } of world.db.raw.scan({ prefix: 'k', limit: 100 })) keys += Math.sign(key.length);
    return keys;
  };
  expect(await world.until(page())).to.equal(9);
  const pair = pairBytes('k0', VALUE);
  // What is read is told by the user's keys and values, where it is a scan.
  const scanned = 9 * (2 + VALUE.length);
  const got = rawKey(Buffer.from('k0')).length + VALUE.length + rawKey(Buffer.from('none')).length;
  return {
    bytesWritten: 10 * pair + rawKey(Buffer.from('k9')).length,
    keysWritten: 11,
    bytesRead: got + scanned,
    keysRead: 2 + 9,
  };
}

describe('Flow in heartbeats', () => {
  it('is told once, by the region and by the store that leads it, with the time that it took', async () => {
    const world = await HeartbeatWorld.start(3);
    await world.lead(1, 1);
    await world.rest(INTERVAL_MS);
    const before = sum(world.of(1));
    const used = await useRegion(world);
    // Awake, or it would be told a minute later.
    for (let i = 0; i < 125; i++) {
      await world.get('k0');
      used.keysRead++;
      used.bytesRead += rawKey(Buffer.from('k0')).length + VALUE.length;
      await world.rest(INTERVAL_MS / 50);
    }
    await world.rest(7 * INTERVAL_MS);
    const after = sum(world.of(1));
    expect(flowOf(after)).to.deep.equal({
      bytesWritten: before.bytesWritten + used.bytesWritten,
      keysWritten: before.keysWritten + used.keysWritten,
      bytesRead: before.bytesRead + used.bytesRead,
      keysRead: before.keysRead + used.keysRead,
    });
    expectContiguous(world.of(1).filter(({ from }) => from === 'store-1'));
    const leader = world.storeStats.filter(({ from }) => from === 'store-1');
    expect(flowOf(sum(leader))).to.deep.equal(flowOf(after));
    expectContiguous(leader);
    for (const follower of ['store-2', 'store-3'])
      expect(sum(world.storeStats.filter(({ from }) => from === follower)).keysWritten, follower).to.equal(0);
    await world.close();
  });

  it('is told again when the heartbeat was not answered', async () => {
    const world = await HeartbeatWorld.start(3);
    await world.lead(1, 1);
    await world.rest(INTERVAL_MS);
    const before = [sum(world.of(1)).keysWritten, sum(world.storeStats).keysWritten];
    world.lost = () => true;
    for (let i = 0; i < 30; i++) {
      await world.put(`k${i}`, VALUE);
      await world.rest(500);
    }
    world.lost = () => false;
    await world.rest(7 * INTERVAL_MS);
    const after = [sum(world.of(1)).keysWritten, sum(world.storeStats).keysWritten];
    expect(after.map((keys, i) => keys - (before[i] ?? 0))).to.deep.equal([30, 30]);
    expectContiguous(world.of(1).filter(({ from }) => from === 'store-1'));
    await world.close();
  });

  it('is told by the leader that applied it, from its election on', async () => {
    const world = await HeartbeatWorld.start(3);
    await world.lead(1, 1);
    await world.put('a', VALUE);
    await world.rest(7 * INTERVAL_MS);
    await world.lead(1, 2);
    await world.put('b', VALUE);
    await world.rest(7 * INTERVAL_MS);
    await world.lead(1, 1);
    await world.put('c', VALUE);
    await world.rest(7 * INTERVAL_MS);
    for (const store of ['store-1', 'store-2']) {
      const told = world.of(1).filter(({ from }) => from === store);
      const intervals = told.flatMap(({ interval }) => (interval === undefined ? [] : [interval]));
      const seconds = intervals.reduce((all, one) => all + one.endTimestamp - one.startTimestamp, 0);
      expect(seconds, store).to.be.lessThan(world.clock.now() / 1000);
      expect(sum(told).keysWritten, store).to.equal(store === 'store-1' ? 2 : 1);
    }
    await world.close();
  });

  it('of less than a second is left to the next heartbeat', () => {
    const count = new FlowCount(new FlowCount());
    count.wrote(100, 1);
    const meter = new FlowMeter(count, 50);
    count.wrote(7, 2);
    expect(meter.take(50)).to.deep.include({ keysWritten: 0, interval: undefined });
    const told = meter.take(51);
    expect(told).to.deep.include({ bytesWritten: 7, keysWritten: 2 });
    expect(told.interval).to.deep.equal({ startTimestamp: 50, endTimestamp: 51 });
    count.read(5, 1);
    meter.giveBack(told);
    const again = meter.take(53);
    expect(again).to.deep.include({ bytesWritten: 7, keysWritten: 2, bytesRead: 5, keysRead: 1 });
    expect(again.interval).to.deep.equal({ startTimestamp: 50, endTimestamp: 53 });
  });
});
