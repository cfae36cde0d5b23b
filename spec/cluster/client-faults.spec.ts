import { expect } from 'chai';
import { TroupeError } from '../../cluster/errors.js';
import { ClientWorld, name, refused } from './client-world.js';

/** One put with a value of its own, and how it ended for its caller. */
interface Put {
  readonly key: string;
  readonly value: string;
  outcome: string;
}

/** A store that refuses, loses replies, moves leaders and splits regions, as the seed says. */
function torment(world: ClientWorld): void {
  const { random } = world;
  world.script = (_, serve) => {
    const chance = random();
    if (chance < 0.1) return refused({ serverIsBusy: { reason: 'spec', backoffMs: 5 } });
    if (chance < 0.15) return refused({ staleCommand: {} });
    if (chance < 0.2) return refused({ notLeader: { regionId: 1, leader: undefined } });
    if (chance < 0.25) return refused({ regionNotFound: { regionId: 1 } });
    if (chance < 0.3) for (const { id } of world.regions) world.leaders.set(id, 1 + Math.floor(random() * 3));
    if (chance < 0.34 && world.regions.length < 12) {
      world.split(
        String.fromCharCode(98 + Math.floor(random() * 24)) + world.regions.length,
        1 + Math.floor(random() * 3),
      );
    }
    const answer = serve();
    return chance > 0.95 ? 'silence' : answer;
  };
  world.network.faults = { ...world.network.faults, loss: 0.02 };
}

describe('the client under faults', () => {
  for (let seed = 1; seed <= 20; seed++) {
    it(`settles every call once and sends no write twice that may have happened (seed ${seed})`, async () => {
      const world = await ClientWorld.start(seed);
      const db = await world.connect();
      torment(world);
      const puts: Put[] = [];
      const gets: Promise<unknown>[] = [];
      const running: Promise<void>[] = [];
      for (let round = 0; round < 20; round++) {
        for (let i = 0; i < 10; i++) {
          const key = `${String.fromCharCode(97 + Math.floor(world.random() * 26))}${i}`;
          const put: Put = { key, value: `${round}-${i}`, outcome: 'pending' };
          puts.push(put);
          running.push(
            db.raw.put(key, put.value, { timeout: 3_000 }).then(
              () => {
                put.outcome = 'done';
              },
              (error: unknown) => {
                put.outcome = error instanceof TroupeError ? error.code : String(error);
              },
            ),
          );
          gets.push(db.raw.get(key, { timeout: 5_000 }).catch((error: unknown) => error));
        }
        await world.clock.advance(20);
      }
      await world.settle(Promise.all([...running, ...gets]));
      await world.clock.advance(10_000);

      // A store that took a write and answered it normally, or never answered it: it may have happened.
      const arrivals = new Map<string, number>();
      for (const { rawPut } of world.requests('write')) {
        if (rawPut !== undefined) {
          const id = `${name(rawPut.key)}=${name(rawPut.value)}`;
          arrivals.set(id, (arrivals.get(id) ?? 0) + 1);
        }
      }
      const served = new Map(world.served);
      for (const put of puts) {
        const id = `${put.key}=${put.value}`;
        const times = served.get(id) ?? 0;
        expect(put.outcome, id).to.be.oneOf(['done', 'undetermined', 'unavailable', 'timeout']);
        expect(times, `${id} was applied ${times} times`).to.be.lessThanOrEqual(1);
        if (put.outcome === 'done') expect(times, id).to.equal(1);
        if (put.outcome === 'unavailable' || put.outcome === 'timeout') expect(times, id).to.equal(0);
      }
      for (const result of await Promise.all(gets)) {
        if (result instanceof Error) expect(result).to.be.instanceOf(TroupeError);
      }
      const outcomes = new Set(puts.map(({ outcome }) => outcome));
      expect(outcomes.has('done')).to.equal(true);
      expect(
        [...arrivals.values()].some((count) => count > 1),
        'refused writes are sent again',
      ).to.equal(true);
      await world.settle(db.close());
      await world.close();
    });
  }
});

describe('a read that was refused often', () => {
  it('is asked again soon when a reply to it is lost, however long it may take', async () => {
    const world = await ClientWorld.start(1);
    const db = await world.connect();
    let asked = 0;
    world.script = (_, serve) => {
      asked++;
      if (asked <= 8) return refused({ serverIsBusy: { reason: 'spec', backoffMs: 5 } });
      return asked === 9 ? 'silence' : serve();
    };
    let answer: unknown = 'none';
    void db.raw.get('a', { timeout: 60_000 }).then(
      (value) => {
        answer = value;
      },
      (error: unknown) => {
        answer = error;
      },
    );
    await world.clock.advance(15_000);
    expect(answer).to.equal(undefined);
    expect(asked).to.be.greaterThan(9);
  });
});

describe('writes to a leader that has died', () => {
  it('end as undetermined when another leads, and keep nobody behind them waiting', async () => {
    const world = await ClientWorld.start(1);
    const db = await world.connect();
    await world.settle(db.raw.put('a', 'before'));
    world.script = ({ node }, serve) => (node === 'store-1' ? 'silence' : serve());
    const begin = world.clock.now();
    const ends = new Map<string, { readonly outcome: string; readonly after: number }>();
    const put = (key: string): void => {
      const ended = (outcome: string) => ends.set(key, { outcome, after: world.clock.now() - begin });
      db.raw.put(key, 'v', { timeout: 60_000 }).then(
        () => ended('done'),
        (error: unknown) => ended(error instanceof TroupeError ? error.code : String(error)),
      );
    };
    // As many batches as may be under way to a region, and more calls that wait for one of these.
    for (let i = 0; i < 12; i++) {
      put(`k${i}`);
      await world.clock.advance(5);
    }
    world.leaders.set(1, 2);
    await world.clock.advance(4_000);
    const outcomes = [...ends.values()].map(({ outcome }) => outcome);
    expect(outcomes.filter((outcome) => outcome === 'undetermined')).to.have.length(8);
    expect(outcomes.filter((outcome) => outcome === 'done')).to.have.length(4);
    for (const { after } of ends.values()) expect(after).to.be.lessThan(2_000);
    put('later');
    await world.clock.advance(50);
    expect(ends.get('later')?.outcome).to.equal('done');
    await world.close();
  });

  it('are waited for as long as nobody else is known to lead', async () => {
    const world = await ClientWorld.start(1);
    const db = await world.connect();
    await world.settle(db.raw.put('a', 'before'));
    world.script = () => 'silence';
    let end = 'pending';
    db.raw.put('a', 'v', { timeout: 8_000 }).then(
      () => {
        end = 'done';
      },
      (error: unknown) => {
        end = error instanceof TroupeError ? error.code : String(error);
      },
    );
    await world.clock.advance(7_000);
    expect(end).to.equal('pending');
    await world.clock.advance(2_000);
    expect(end).to.equal('undetermined');
    await world.close();
  });
});
