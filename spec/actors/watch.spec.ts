import { expect } from 'chai';
import type { ActorSystem } from '../../actors/index.js';
import { counter, TestCluster } from './fixtures.js';

describe('death watch', () => {
  let cluster: TestCluster;
  let store: ActorSystem;
  let other: ActorSystem;
  let downs: string[];

  beforeEach(async () => {
    cluster = new TestCluster();
    store = await cluster.node('store-1');
    other = await cluster.node('store-2');
    downs = [];
  });

  function watch(from: ActorSystem, address = 'store-1/counter'): () => void {
    return from.ref(address).watch((down) => downs.push(`${down.address} ${down.reason}`));
  }

  it('tells the end of an actor, here and on other nodes, once each', async () => {
    const ref = store.spawn(counter, { path: 'counter' });
    watch(store);
    watch(other);
    watch(await cluster.node('client-a'));
    await cluster.clock.advance(3000);
    expect(downs).to.deep.equal([]);
    ref.stop();
    await cluster.clock.advance(10_000);
    expect(downs).to.deep.equal(new Array(3).fill('store-1/counter stopped'));
  });

  it('tells how it ended', async () => {
    store.spawn(counter, { path: 'counter' }).tell({ type: 'finish' });
    watch(store);
    watch(other, 'store-1/second');
    store.spawn(counter, { path: 'second', supervision: { onFailure: 'stop' } });
    await cluster.clock.advance(10);
    store.ref('store-1/second').tell({ type: 'fail' });
    await cluster.clock.advance(100);
    expect(downs).to.deep.equal(['store-1/counter done', 'store-1/second failed']);
  });

  it('tells that there is nobody', async () => {
    watch(store, 'store-1/nobody');
    watch(other, 'store-1/nobody');
    await cluster.clock.advance(100);
    expect(downs).to.deep.equal(new Array(2).fill('store-1/nobody no-such-actor'));
  });

  it('does not take a restart for an end', async () => {
    const ref = store.spawn(counter, { path: 'counter' });
    watch(other);
    ref.tell({ type: 'fail' });
    await cluster.clock.advance(20_000);
    expect(downs).to.deep.equal([]);
  });

  it('says nothing after the watch was taken back', async () => {
    const ref = store.spawn(counter, { path: 'counter' });
    watch(store)();
    const unwatch = watch(other);
    await cluster.clock.advance(10);
    unwatch();
    await cluster.clock.advance(10);
    ref.stop();
    await cluster.clock.advance(10_000);
    expect(downs).to.deep.equal([]);
  });

  it('survives lost messages: the watch, the confirmation and the news of the end', async () => {
    const ref = store.spawn(counter, { path: 'counter' });
    const lost = new Set<string>();
    cluster.network.filterEnvelopes((_, { tag }) => {
      if (lost.has(tag) || !['watch', 'watching', 'down'].includes(tag)) return true;
      lost.add(tag);
      return false;
    });
    watch(other);
    await cluster.clock.advance(3000);
    ref.stop();
    await cluster.clock.advance(3000);
    expect([...lost]).to.have.members(['watch', 'watching', 'down']);
    expect(downs).to.deep.equal(['store-1/counter stopped']);
  });

  it('notices that another actor lives there by now', async () => {
    const ref = store.spawn(counter, { path: 'counter' });
    watch(other);
    await cluster.clock.advance(100);
    const heal = cluster.network.filterEnvelopes((_, { tag }) => tag !== 'down');
    ref.stop();
    await cluster.clock.advance(1);
    store.spawn(counter, { path: 'counter' });
    heal();
    await cluster.clock.advance(3000);
    expect(downs).to.deep.equal(['store-1/counter stopped']);
  });

  it('counts a silent node as down after the timeout', async () => {
    store.spawn(counter, { path: 'counter' });
    watch(other);
    watch(other, 'store-1');
    await cluster.clock.advance(100);
    cluster.network.partition(['store-1'], ['store-2']);
    await cluster.clock.advance(4000);
    expect(downs).to.deep.equal([]);
    await cluster.clock.advance(3000);
    expect(downs).to.have.members(['store-1/counter unreachable', 'store-1/ unreachable']);
  });

  it('counts a node that never answers as down', async () => {
    watch(other, 'store-9/counter');
    await cluster.clock.advance(7000);
    expect(downs).to.deep.equal(['store-9/counter unreachable']);
  });

  it('tells that the node came back as another incarnation', async () => {
    store.spawn(counter, { path: 'counter' });
    watch(other);
    await cluster.clock.advance(100);
    cluster.network.crash('store-1');
    const reborn = await cluster.node('store-1');
    reborn.spawn(counter, { path: 'counter' });
    await cluster.clock.advance(3000);
    expect(downs).to.deep.equal(['store-1/counter node-restarted']);
  });

  it('runs its listeners in a turn, and one of them may watch again', async () => {
    let nested = 0;
    const again = (): void => {
      if (++nested < 3) store.ref('store-1/nobody').watch(again);
    };
    store.ref('store-1/nobody').watch(again);
    expect(nested).to.equal(0);
    await cluster.clock.advance(1);
    expect(nested).to.equal(3);
  });

  it('forgets watchers that fell silent', async () => {
    store.spawn(counter, { path: 'counter' });
    const client = await cluster.node('client-a');
    watch(client);
    await cluster.clock.advance(100);
    cluster.network.crash('client-a');
    other.ref('store-1/counter').tell({ type: 'add', by: 1 });
    await cluster.clock.advance(60_000);
    other.ref('store-1/counter').tell({ type: 'add', by: 1 });
    await cluster.clock.advance(10);
    const sent = cluster.network.counts.sent;
    store.ref('store-1/counter').stop();
    await cluster.clock.advance(100);
    expect(cluster.network.counts.sent).to.equal(sent);
  });
});
