import { expect } from 'chai';
import { ClusterModel } from '../../cluster/inspector/model.js';
import { escapeKey, rawKey } from '../../storage/keys.js';
import { raftItem, regionItem, storeItem, Teller } from './inspector-samples.js';

const raw = (key: string): string => escapeKey(rawKey(Buffer.from(key)));
const region = (id: number, start: string, end: string, epoch = '1/1'): object =>
  regionItem(id, { start, end, epoch, leader: 1 });

describe('what the inspector says has happened', () => {
  let now = 0;
  let model: ClusterModel;
  let scheduler: Teller;

  beforeEach(() => {
    now = 10_000;
    model = new ClusterModel(() => now);
    scheduler = new Teller('scheduler-1');
    regions([region(1, '', '')]);
  });

  function regions(items: readonly object[], gone: readonly number[] = []): void {
    const batch = scheduler.state('regions', items, gone);
    model.take({ ...batch, wall: now });
  }

  function said(away = false): string[] {
    model.look(away);
    return model.moments.all.map(({ text }) => text);
  }

  it('names the key of a split and who is new, in whichever order the two are told of', () => {
    regions([region(1, raw('m'), '', '1/2'), region(1000, '', raw('m'), '1/2')]);
    expect(said()).to.deep.equal(['region 1 split at m (raw): 1000 is new']);
    regions([region(2000, raw('t'), '', '1/3')]);
    expect(said()).to.have.length(1);
    now += 500;
    regions([region(1, raw('m'), raw('t'), '1/3')]);
    expect(said()[1]).to.equal('region 1 split at t (raw): 2000 is new');
  });

  it('tells a split into several parts part by part', () => {
    regions([
      region(1, raw('m'), '', '1/3'),
      region(11, raw('c'), raw('m'), '1/3'),
      region(10, '', raw('c'), '1/3'),
    ]);
    expect(said()).to.deep.equal([
      'region 1 split at c (raw): 10 is new',
      'region 1 split at m (raw): 11 is new',
    ]);
  });

  it('tells a merge once: not before the other one is gone', () => {
    regions([region(1, raw('m'), '', '1/2'), region(1000, '', raw('m'), '1/2')]);
    said();
    // What merging begins with changes the epoch alone.
    regions([region(1000, '', raw('m'), '1/3')]);
    regions([region(1, '', '', '1/4')]);
    expect(said()).to.have.length(1);
    now += 1_000;
    regions([], [1000]);
    expect(said().slice(1)).to.deep.equal(['region 1000 merged into 1']);
  });

  it('says at least what a region is now when the other side is never told of', () => {
    regions([region(1, raw('m'), '', '1/2')]);
    expect(said()).to.deep.equal([]);
    now += 5_000;
    model.take(scheduler.batch([], now));
    expect(said()).to.deep.equal(['region 1 reaches from m (raw) to the last key now']);
    now += 5_000;
    model.take(scheduler.batch([], now));
    expect(said()).to.have.length(1);
  });

  it('tells of nodes that fall silent, return, and begin anew', () => {
    const store = new Teller('store-1');
    model.take({ ...scheduler.state('stores', [storeItem(1)]), wall: now });
    model.take({ ...scheduler.state('raft', [raftItem(0)]), wall: now });
    model.take(store.batch([], now));
    expect(said()).to.deep.equal([]);
    now += 3_000;
    expect(said()).to.deep.equal(['scheduler-1 is not heard of', 'store-1 is not heard of']);
    model.take(store.batch([], now));
    expect(said().at(-1)).to.equal('store-1 is heard of again');
    now += 3_000;
    said();
    model.take(new Teller('store-1', 2).batch([], now));
    expect(said().slice(-2)).to.deep.equal(['store-1 is not heard of', 'store-1 was started anew']);
  });

  it('makes no news of a tool that comes and goes, and forgets it', () => {
    const tool = new Teller('host-1');
    model.take(tool.batch([], now));
    now += 10_000;
    model.take(scheduler.batch([], now));
    expect(said()).to.deep.equal([]);
    expect([...model.nodes.keys()]).to.include('host-1');
    // One that stayed a while is missed.
    const host = new Teller('host-2');
    model.take(host.batch([], now));
    now += 10_000;
    model.take(host.batch([], now));
    now += 5_000;
    model.take(scheduler.batch([], now));
    expect(said()).to.deep.equal(['host-2 is not heard of']);
    now += 10_000;
    said();
    expect([...model.nodes.keys()]).to.not.include('host-1');
  });

  it('does not blame the nodes while NATS is away, nor in the moment when it is back', () => {
    model.take({ ...scheduler.state('raft', [raftItem(0)]), wall: now });
    expect(said(true)).to.deep.equal(['NATS does not answer: nothing is heard of any node']);
    now += 60_000;
    expect(said(true)).to.have.length(1);
    expect(said().slice(1)).to.deep.equal(['NATS answers again']);
    now += 1_000;
    model.take(new Teller('scheduler-1').batch([], now));
    now += 1_000;
    expect(said()).to.have.length(2);
  });

  it('tells what the scheduler thinks of a store', () => {
    model.take(scheduler.state('stores', [storeItem(1)]));
    model.take(scheduler.state('stores', [{ ...storeItem(1), state: 'disconnected' }]));
    model.take(scheduler.state('stores', [storeItem(1)]));
    expect(said()).to.deep.equal(['store-1 is disconnected', 'store-1 is up again']);
  });
});
