import { expect } from 'chai';
import type { Database } from '../../cluster/client/database.js';
import { connect } from '../../cluster/client/index.js';
import type { TransactionOptions } from '../../cluster/client/txn/transactions.js';
import { text } from './client-world.js';
import { CLUSTER, StoreWorld } from './store-world.js';

/** What a lock lives, in milliseconds, and what resolving it may take beyond. */
const LOCK_TTL_MS = 3_000;
const GRACE_MS = 1_500;

/** Messages that the longest commit of these keys may take; more would mean that it never ends. */
const MOST_MESSAGES = 60;

describe('a client that dies', function () {
  this.timeout(120_000);

  let world: StoreWorld;
  let survivor: Database;

  beforeEach(async () => {
    world = new StoreWorld();
    await world.scheduler(1);
    await world.store('store-1');
    survivor = await clientNamed('client-2');
    for (const key of ['h', 'p']) await world.until(survivor.cluster.splitRegion(key, { space: 'txn' }));
  });

  afterEach(async () => {
    await world.until(survivor.close());
  });

  function clientNamed(name: string): Promise<Database> {
    const { clock, random } = world;
    const transport = world.network.transport(name);
    return world.until(connect({ cluster: CLUSTER, transport, clock, random, name }));
  }

  /**
   * Begins a transaction whose client is cut off: after its `count`-th message, or when a reply to that comes.
   * @returns whether that happened, as soon as it did or all was done; and how the client saw the end
   */
  async function runUntilDeath(
    name: string,
    count: number,
    isDeaf: boolean,
    keys: readonly string[],
    options: TransactionOptions,
  ): Promise<{ readonly died: boolean; readonly outcome: Promise<string> }> {
    const victim = await clientNamed(name);
    let sent = 0;
    let died = false;
    const remove = world.network.filter(({ from, to }) => {
      if (to === name && isDeaf && sent >= count) died = true;
      if (from === name && sent++ >= count) died = true;
      return !died || (from !== name && to !== name);
    });
    let over = false;
    const outcome = victim
      .transaction(
        (txn) => {
          for (const key of keys) txn.put(key, 'new');
        },
        { ...options, timeout: 2_000 },
      )
      .then(
        () => 'committed',
        (error) => String(error.code),
      )
      .then(async (told) => {
        over = true;
        if (died) world.network.crash(name);
        else await victim.close();
        remove();
        return told;
      });
    await world.clock.runUntil(() => died || over, 10_000);
    return { died, outcome };
  }

  for (const [way, options] of [
    ['one phase', { onePc: true }],
    ['an async commit', { onePc: false }],
    ['two phases', { onePc: false, asyncCommit: false }],
  ] as const) {
    for (const isDeaf of [false, true]) {
      const when = isDeaf ? 'deaf' : 'silent';
      it(`leaves nothing that is in the way for longer than a lock lives, wherever ${way} ends (${when})`, async () => {
        const seen = new Set<string>();
        for (let count = isDeaf ? 1 : 0; ; count++) {
          expect(count).to.be.below(MOST_MESSAGES);
          const keys = [`a${count}`, ...(way === 'one phase' ? [`b${count}`] : [`k${count}`, `t${count}`])];
          await putAll(keys, 'old');
          const { died, outcome } = await runUntilDeath(`client-v${count}`, count, isDeaf, keys, options);
          const began = world.clock.now();
          const read = await world.until(
            survivor.transaction((txn) => txn.batchGet(keys), { timeout: 30_000 }),
          );
          await putAll(keys, 'after');
          expect(world.clock.now() - began, `${count}`).to.be.below(LOCK_TTL_MS + GRACE_MS);
          const told = await world.until(outcome);
          // All or nothing, and as the client was told where it was told.
          const [value, ...others] = new Set(read.map(text));
          expect(others, `${count}: ${told}`).to.deep.equal([]);
          seen.add(`${told} ${value}`);
          if (!died) break;
        }
        expect([...seen]).to.include.members(['committed new']);
        const possible = ['committed new', 'unavailable old', 'timeout old', 'conflict old'];
        const unknown = ['undetermined old', 'undetermined new'];
        expect([...possible, ...unknown]).to.include.members([...seen]);
        expect(
          unknown.some((end) => seen.has(end)),
          [...seen].join(),
        ).to.equal(true);
      });
    }
  }

  async function putAll(keys: readonly string[], value: string): Promise<void> {
    const write = survivor.transaction(
      (txn) => {
        for (const key of keys) txn.put(key, value);
      },
      { timeout: 30_000 },
    );
    await world.until(write);
  }
});
