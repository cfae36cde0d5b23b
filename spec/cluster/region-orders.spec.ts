import { expect } from 'chai';
import { type ActorSystem, silentLogger } from '../../actors/index.js';
import { SchedulerClient } from '../../cluster/pd-client.js';
import { pdpb, type troupepb } from '../../cluster/proto/index.js';
import { RegionOrders } from '../../cluster/store/region-orders.js';
import type { RegionReplica } from '../../cluster/store/replica.js';
import { rawKey } from '../../storage/index.js';
import { eraftpb, metapb } from '../../storage/proto/index.js';
import { storeName } from './faulty-region-world.js';
import { HeartbeatWorld, pendingOf } from './heartbeat-world.js';

const { ConfChangeType } = eraftpb;
const { PeerRole } = metapb;
const { CheckPolicy } = pdpb;
const ROLES = ['Voter', 'Learner', 'IncomingVoter', 'DemotingVoter'];
/** Milliseconds after which an order that does nothing has done nothing. */
const LONG_MS = 3_000;

type Order = Partial<pdpb.RegionHeartbeatResponse>;

/** A cluster with a second scheduler that does nothing but give orders. */
class OrderedWorld extends HeartbeatWorld {
  #scheduler: ActorSystem | undefined;
  #ids = 1_000;

  static override async start(stores: number, first = stores): Promise<OrderedWorld> {
    const world = new OrderedWorld();
    world.schedulers = ['scheduler-1', 'scheduler-2'];
    await world.begin(stores, first);
    world.#scheduler = await world.bareSystem('scheduler-2');
    await world.put('a', 'a');
    await world.put('z', 'z');
    await world.lead(1, 1);
    return world;
  }

  /** As the scheduler would give it now. */
  order(region: number, order: Order): pdpb.RegionHeartbeatResponse {
    const { regionEpoch } = this.leaderRegion(region);
    const targetPeer = this.peer(region, this.leaderOf(region)).peer;
    return pdpb.RegionHeartbeatResponse.from({ regionId: region, regionEpoch, targetPeer, ...order });
  }

  /** Gives it to a store between two heartbeats. */
  give(region: number, order: Order, store = this.leaderOf(region), system = this.#scheduler): void {
    const event = { ...this.order(region, order), type: 'store.regionOrder' };
    system?.ref(`${storeName(store)}/store`).tell(event);
  }

  /** A peer of the region; one that is new gets an id. */
  peerOn(region: number, storeId: number): metapb.Peer {
    const known = this.leaderRegion(region).peers.find((peer) => peer.storeId === storeId);
    return known ?? { id: ++this.#ids, storeId, role: PeerRole.Voter };
  }

  changeOf(changeType: eraftpb.ConfChangeType, storeId: number): pdpb.ChangePeer {
    return { changeType, peer: this.peerOn(1, storeId) };
  }

  /** Roles of the region's peers by store. */
  roles(): string {
    const peers = [...this.leaderRegion(1).peers].sort((a, b) => a.storeId - b.storeId);
    return peers.map(({ storeId, role }) => `${storeId}:${ROLES[role]}`).join(' ');
  }
}

describe('Orders of the scheduler', () => {
  it('add a learner, promote it and remove another peer, each as soon as the last is told as done', async () => {
    const world = await OrderedWorld.start(4, 3);
    const from = world.clock.now();
    world.give(1, { changePeer: world.changeOf(ConfChangeType.AddLearnerNode, 4) });
    await world.when('a learner that is told as whole', () => {
      const told = world.last(1);
      return told.region?.peers.length === 4 && pendingOf(told).length === 0;
    });
    world.give(1, { changePeer: world.changeOf(ConfChangeType.AddNode, 4) });
    await world.when('a voter', () => world.roles() === '1:Voter 2:Voter 3:Voter 4:Voter');
    await world.when(
      'word of it',
      () => world.last(1).region?.regionEpoch?.confVer === world.leaderRegion(1).regionEpoch?.confVer,
    );
    world.give(1, { changePeer: world.changeOf(ConfChangeType.RemoveNode, 3) });
    await world.when('a removal', () => world.roles() === '1:Voter 2:Voter 4:Voter');
    await world.when('word of it', () => world.last(1).region?.peers.length === 3);
    expect(world.clock.now() - from, 'milliseconds for all of it').to.be.lessThan(3_000);
    await world.close();
  });

  it('change several members jointly, and leave the joint membership by an order without changes', async () => {
    const world = await OrderedWorld.start(4, 3);
    world.give(1, { changePeer: world.changeOf(ConfChangeType.AddLearnerNode, 4) });
    await world.when('a learner', () => world.roles() === '1:Voter 2:Voter 3:Voter 4:Learner');
    const joint = '1:Voter 2:Voter 3:DemotingVoter 4:IncomingVoter';
    // The scheduler repeats itself too.
    for (let tries = 0; tries < 20 && world.roles() !== joint; tries++) {
      const changes = [
        world.changeOf(ConfChangeType.AddNode, 4),
        world.changeOf(ConfChangeType.AddLearnerNode, 3),
      ];
      world.give(1, { changePeerV2: { changes } });
      await world.rest(100);
    }
    expect(world.roles()).to.equal(joint);
    await world.when(
      'word of it',
      () => world.last(1).region?.peers.some(({ role }) => role > PeerRole.Learner) === true,
    );
    world.give(1, { changePeerV2: { changes: [] } });
    await world.when('its end', () => world.roles() === '1:Voter 2:Voter 3:Learner 4:Voter');
    await world.close();
  });

  it('move leadership, to whom they name or to the best of several', async () => {
    const world = await OrderedWorld.start(3);
    world.give(1, { transferLeader: { peer: world.peerOn(1, 2), peers: [] } });
    await world.when('a leader on store 2', () => world.leaderOf(1) === 2);
    await world.lead(1, 1);
    const behind = world.lose(({ to }) => to === 'store-2');
    await world.put('b', 'b');
    const peers = [world.peerOn(1, 2), world.peerOn(1, 3)];
    world.give(1, { transferLeader: { peer: peers[0], peers } });
    await world.when('a leader on store 3', () => world.leaderOf(1) === 3);
    behind();
    await world.close();
  });

  it('split at given keys, or in half, and merge', async () => {
    const world = await OrderedWorld.start(3);
    const keys = ['h', 'p'].map((key) => rawKey(Buffer.from(key)));
    world.give(1, { splitRegion: { policy: CheckPolicy.USEKEY, keys } });
    await world.when('three regions', () => world.regionsOn(1).length === 3);
    await world.eventually(
      'leaders',
      ({ regions }) => regions.length === 3 && regions.every(({ leader }) => leader !== null),
    );
    const ends = (await world.status()).regions.map(({ end }) => end);
    expect(ends).to.deep.equal(['rh', 'rp', '']);
    const [first, second] = (await world.status()).regions;
    const source = first?.id ?? 0;
    const target = second?.id ?? 0;
    for (const id of [source, target]) await world.lead(id, 1);
    world.give(source, { merge: { target: world.leaderRegion(target) } });
    await world.when('two regions', () => world.regionsOn(1).length === 2);
    for (const policy of [CheckPolicy.APPROXIMATE, CheckPolicy.SCAN]) {
      const regions = world.regionsOn(1).length;
      for (let i = 0; i < 4; i++) await world.put(`c${policy}${i}`, 'c'.repeat(100));
      const id = (await world.status()).regions[0]?.id ?? 0;
      await world.lead(id, 1);
      world.give(id, { splitRegion: { policy, keys: [] } });
      await world.when('another region', () => world.regionsOn(1).length === regions + 1);
    }
    await world.eventually('leaders', ({ regions }) => regions.every(({ leader }) => leader !== null));
    await world.close();
  });

  it('are taken from the reply to a heartbeat too', async () => {
    const world = await OrderedWorld.start(4, 3);
    const ask = SchedulerClient.prototype.regionHeartbeat;
    try {
      SchedulerClient.prototype.regionHeartbeat = async function (...request) {
        const reply = await ask.apply(this, request);
        return {
          ...reply,
          changePeer: { changeType: ConfChangeType.AddLearnerNode, peer: world.peerOn(1, 4) },
        };
      };
      const wanted = '1:Voter 2:Voter 3:Voter 4:Learner';
      // It is awake, so a heartbeat comes within ten seconds.
      for (let i = 0; i < 55 && world.roles() !== wanted; i++) {
        await world.put('busy', String(i));
        await world.rest(200);
      }
      expect(world.roles()).to.equal(wanted);
    } finally {
      SchedulerClient.prototype.regionHeartbeat = ask;
    }
    await world.close();
  });

  it('are dropped where the region has moved on, for another leader, from anybody else, and without a wish', async () => {
    const world = await OrderedWorld.start(4, 3);
    const stranger = await world.bareSystem('store-9');
    const changePeer = world.changeOf(ConfChangeType.AddLearnerNode, 4);
    const before = world.leaderRegion(1);
    const { confVer = 0, version = 0 } = before.regionEpoch ?? {};
    const transferLeader = { peer: world.peerOn(1, 2), peers: [] };
    for (const wish of [{ changePeer }, { transferLeader }]) {
      world.give(1, { ...wish, regionEpoch: { confVer: confVer + 1, version } });
      world.give(1, { ...wish, regionEpoch: { confVer, version: version - 1 } });
      world.give(1, { ...wish, regionEpoch: undefined });
      world.give(1, { ...wish, targetPeer: world.peerOn(1, 2) });
      world.give(1, wish, 2);
      world.give(1, wish, 4);
      world.give(1, wish, 1, stranger);
      world.give(1, { ...wish, regionId: 99 });
      world.give(1, { ...wish, header: { clusterId: 99, error: undefined } });
    }
    world.give(1, {});
    await world.rest(LONG_MS);
    expect([world.leaderRegion(1), world.leaderOf(1)]).to.deep.equal([before, 1]);
    world.give(1, { changePeer });
    await world.when('a learner', () => world.roles() === '1:Voter 2:Voter 3:Voter 4:Learner');
    await world.close();
  });

  it('are under way one at a time for each region: who asks again meanwhile is not heard', async () => {
    const region = (id: number) =>
      metapb.Region.from({ id, regionEpoch: { confVer: 1, version: 1 }, peers: [] });
    const led = (id: number) =>
      ({ region: region(id), peerId: 5, raftGroup: { isLeader: true } }) as unknown as RegionReplica;
    const asked: troupepb.ChangeRegionRequest[] = [];
    let end: () => void = () => {};
    const orders = new RegionOrders({
      logger: silentLogger,
      replicas: new Map([1, 2].map((id) => [id, led(id)])),
      rightDerive: true,
      change: (request) => {
        asked.push(request);
        return new Promise((_resolve, reject) => {
          end = () => reject(new Error('nobody answers'));
        });
      },
    });
    const split = (regionId: number) => {
      const { regionEpoch } = region(regionId);
      const splitRegion = { policy: CheckPolicy.APPROXIMATE, keys: [] };
      orders.carryOut(pdpb.RegionHeartbeatResponse.from({ regionId, regionEpoch, splitRegion }));
      return asked.map(({ context }) => context?.regionId);
    };
    expect(split(1)).to.deep.equal([1]);
    expect(split(1)).to.deep.equal([1]);
    expect(split(2)).to.deep.equal([1, 2]);
    end();
    await new Promise(setImmediate);
    expect(split(1), 'the one of region 1 is not over').to.deep.equal([1, 2]);
    expect(split(2), 'that of region 2 is').to.deep.equal([1, 2, 2]);
  });
});
