import { createHash } from 'node:crypto';
import { expect } from 'chai';
import { setup } from 'xstate';
import { type ActorSystem, ActorSystemError, type LinkFaults, readEnvelopes } from '../../actors/index.js';
import { counter, errorOf, TestCluster } from './fixtures.js';

const collector = (seen: number[]) =>
  setup({ types: { events: {} as { type: 'note'; n: number } } }).createMachine({
    on: { note: { actions: ({ event }) => seen.push(event.n) } },
  });

/** Two nodes, one of which sends a hundred notes in ten turns; what arrived, in order. */
async function notes(
  seed: number,
  faults: Partial<LinkFaults>,
): Promise<{ seen: number[]; cluster: TestCluster }> {
  const cluster = new TestCluster(seed, faults);
  const seen: number[] = [];
  (await cluster.node('store-2')).spawn(collector(seen), { path: 'collector' });
  const ref = (await cluster.node('store-1')).ref('store-2/collector');
  for (let turn = 0; turn < 10; turn++) {
    for (let i = 0; i < 10; i++) ref.tell({ type: 'note', n: 10 * turn + i });
    await cluster.clock.advance(1);
  }
  await cluster.clock.advance(1000);
  return { seen, cluster };
}

const ALL = Array.from({ length: 100 }, (_, n) => n);

describe('memory network', () => {
  it('without faults keeps everything in order, whatever the delay', async () => {
    const { seen, cluster } = await notes(1, { delay: [0, 50] });
    expect(seen).to.deep.equal(ALL);
    expect(cluster.network.counts.sent).to.equal(10);
  });

  it('loses, duplicates and reorders when it is told to', async () => {
    expect((await notes(2, { loss: 0.5 })).seen.length).to.be.within(10, 90);
    expect((await notes(2, { duplicate: 0.5 })).seen.length).to.be.above(100);
    const { seen } = await notes(3, { delay: [0, 50], reorder: 0.5 });
    expect(seen).to.not.deep.equal(ALL);
    expect([...seen].sort((a, b) => a - b)).to.deep.equal(ALL);
  });

  it('applies the faults of one direction to that direction', async () => {
    const cluster = new TestCluster(1, {});
    const a = await cluster.node('store-1');
    const b = await cluster.node('store-2');
    a.spawn(counter, { path: 'counter' });
    b.spawn(counter, { path: 'counter' });
    cluster.network.link('store-1', 'store-2', { loss: 1 });
    a.ref('store-2/counter').tell({ type: 'add', by: 1 });
    b.ref('store-1/counter').tell({ type: 'add', by: 1 });
    await cluster.clock.advance(10);
    const values = [a, b].map((system) => system.metrics.messages);
    expect(values).to.deep.equal([1, 0]);
    cluster.network.link('store-1', 'store-2', undefined);
    a.ref('store-2/counter').tell({ type: 'add', by: 1 });
    await cluster.clock.advance(10);
    expect(b.metrics.messages).to.equal(1);
  });

  it('partitions and heals', async () => {
    const cluster = new TestCluster();
    const nodes = await Promise.all(['store-1', 'store-2', 'store-3'].map((name) => cluster.node(name)));
    for (const node of nodes) node.spawn(counter, { path: 'counter' });
    const reach = async (): Promise<string[]> => {
      const pairs: string[] = [];
      for (const from of nodes) {
        for (const to of nodes) {
          if (from === to) continue;
          const answer = from.ref(`${to.node}/counter`).ask({ type: 'get' }, { timeout: 50 });
          if ((await cluster.settle(answer.catch(() => 'lost'))) !== 'lost')
            pairs.push(`${from.node} ${to.node}`);
        }
      }
      return pairs;
    };
    cluster.network.partition(['store-1'], ['store-2', 'store-3']);
    expect(await reach()).to.deep.equal(['store-2 store-3', 'store-3 store-2']);
    cluster.network.heal();
    expect((await reach()).length).to.equal(6);
  });

  it('refuses a second node of one name, and takes the next start of one that crashed', async () => {
    const cluster = new TestCluster();
    await cluster.node('store-1');
    const error = await errorOf(cluster.node('store-1'));
    expect(error).to.be.instanceOf(ActorSystemError).and.include({ code: 'name-taken' });
    cluster.network.crash('store-1');
    expect((await cluster.node('store-1')).node).to.equal('store-1');
  });

  it('runs nothing of a node that crashed', async () => {
    const cluster = new TestCluster();
    const system = await cluster.node('store-1');
    const seen: number[] = [];
    const ref = system.spawn(collector(seen), { path: 'collector' });
    ref.tell({ type: 'note', n: 1 });
    await cluster.clock.advance(1);
    ref.tell({ type: 'note', n: 2 });
    cluster.network.crash('store-1');
    ref.tell({ type: 'note', n: 3 });
    await cluster.clock.advance(1000);
    expect(seen).to.deep.equal([1]);
  });

  it('does the same from the same seed, and something else from another', async () => {
    const trace = async (seed: number): Promise<string> => {
      const cluster = new TestCluster(seed, { delay: [0, 20], loss: 0.1, duplicate: 0.1, reorder: 0.2 });
      const hash = createHash('sha256');
      cluster.network.trace(({ from, to, lane, bytes }, at) =>
        hash.update(`${at} ${from} ${to} ${lane} `).update(bytes),
      );
      const nodes: ActorSystem[] = [];
      for (const name of ['store-1', 'store-2', 'store-3']) nodes.push(await cluster.node(name));
      for (const node of nodes) node.spawn(counter, { path: 'counter', supervision: { minBackoff: 5 } });
      for (let i = 0; i < 100; i++) {
        const from = nodes[i % 3] as ActorSystem;
        const ref = from.ref(`store-${((i + 1) % 3) + 1}/counter`);
        ref
          .ask({ type: 'get' }, { timeout: 30 })
          .catch(() => ref.tell({ type: i % 7 === 0 ? 'fail' : 'add', by: i }));
        if (i === 50) nodes[0]?.ref('store-2/counter').watch(() => {});
        await cluster.clock.advance(3);
      }
      await cluster.clock.advance(5000);
      return hash.digest('hex');
    };
    const first = await trace(42);
    expect(await trace(42)).to.equal(first);
    expect(await trace(43)).to.not.equal(first);
  });

  describe('chunks beside the messages', () => {
    /** Numbers of a hundred chunks, as they arrived. */
    async function chunks(seed: number, faults: Partial<LinkFaults>): Promise<number[]> {
      const cluster = new TestCluster(seed, faults);
      const seen: number[] = [];
      const sender = await (await cluster.node('store-1')).openBulk(() => {});
      await (await cluster.node('store-2')).openBulk((chunk) => seen.push(chunk[0] as number));
      for (const n of ALL) {
        expect(sender.send('store-2', Uint8Array.of(n))).to.equal(true);
        await cluster.clock.advance(1);
      }
      await cluster.clock.advance(1000);
      return seen;
    }

    it('keep their order without faults, and are lost, doubled and reordered as frames are', async () => {
      expect(await chunks(1, { delay: [0, 50] })).to.deep.equal(ALL);
      expect((await chunks(2, { loss: 0.5 })).length).to.be.within(10, 90);
      expect((await chunks(2, { duplicate: 0.5 })).length).to.be.above(100);
      const reordered = await chunks(3, { delay: [0, 50], reorder: 0.5 });
      expect(reordered).to.not.deep.equal(ALL);
      expect([...reordered].sort((a, b) => a - b)).to.deep.equal(ALL);
      expect(await chunks(3, { delay: [0, 50], reorder: 0.5 })).to.deep.equal(reordered);
    });

    it('do not cross a partition, nor reach or leave a node without a connection', async () => {
      const cluster = new TestCluster();
      const seen: number[] = [];
      const sender = await (await cluster.node('store-1')).openBulk(() => {});
      await (await cluster.node('store-2')).openBulk((chunk) => seen.push(chunk[0] as number));
      const send = async (n: number): Promise<boolean> => {
        const sent = sender.send('store-2', Uint8Array.of(n));
        await cluster.clock.advance(10);
        return sent;
      };
      cluster.network.partition(['store-1'], ['store-2']);
      expect(await send(1)).to.equal(true);
      cluster.network.heal();
      cluster.network.disconnect('store-1');
      expect(await send(2)).to.equal(false);
      cluster.network.reconnect('store-1');
      cluster.network.disconnect('store-2');
      expect(await send(3)).to.equal(true);
      cluster.network.reconnect('store-2');
      expect(await send(4)).to.equal(true);
      cluster.network.crash('store-1');
      expect(await send(5)).to.equal(false);
      expect(seen).to.deep.equal([4]);
    });

    it('are copies, and do not wait for messages', async () => {
      const cluster = new TestCluster(1, {});
      const seen: Uint8Array[] = [];
      const a = await cluster.node('store-1');
      const b = await cluster.node('store-2');
      b.spawn(counter, { path: 'counter' });
      const sender = await a.openBulk(() => {});
      await b.openBulk((chunk) => seen.push(chunk));
      cluster.network.link('store-1', 'store-2', { delay: [100, 100] });
      a.ref('store-2/counter').tell({ type: 'add', by: 1 });
      await cluster.clock.advance(1);
      cluster.network.link('store-1', 'store-2', undefined);
      const chunk = Buffer.from([7]);
      sender.send('store-2', chunk);
      chunk[0] = 8;
      await cluster.clock.advance(1);
      expect(seen).to.deep.equal([Uint8Array.of(7)]);
      expect(b.metrics.messages).to.equal(0);
    });
  });

  it('shows what travels', async () => {
    const cluster = new TestCluster();
    const kinds: string[] = [];
    cluster.network.trace(({ bytes }) =>
      kinds.push(...readEnvelopes(bytes).map(({ tag, kind }) => `${tag} ${kind}`)),
    );
    const a = await cluster.node('store-1');
    (await cluster.node('store-2')).spawn(counter, { path: 'counter' });
    a.ref('store-2/counter').tell({ type: 'add', by: 1 });
    await cluster.settle(a.ref('store-2/counter').ask({ type: 'get' }));
    expect(kinds).to.deep.equal(['tell add', 'ask get', 'reply ']);
  });
});
