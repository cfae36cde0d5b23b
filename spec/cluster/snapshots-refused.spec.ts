import { expect } from 'chai';
import fc from 'fast-check';
import { codecs } from '../../cluster/protocol.js';
import type { SnapshotOffer, TransferId } from '../../cluster/snapshot-protocol.js';
import { decodeChunkFrame, encodeChunkFrame } from '../../cluster/store/snapshots/chunk-frame.js';
import {
  type Engine,
  RaftLog,
  StorageCorruptionError,
  saveRegionState,
  snapshotFileName,
} from '../../storage/index.js';
import { DecodeError, metapb, raft_serverpb } from '../../storage/proto/index.js';
import { ChunkBuilder } from '../../storage/snapshot-chunk.js';
import {
  nodeName,
  regionOn,
  type SnapshotStore,
  SnapshotsWorld,
  someValues,
  TERM,
} from './snapshots-world.js';

const REGION = regionOn(1, [1, 2]);

interface Refusal {
  readonly outcome: number;
  readonly reason: number;
}

interface OfferFields {
  readonly index?: number;
  readonly peer?: metapb.Peer;
  readonly estimatedBytes?: number;
  readonly maxBytes?: number;
}

/** What the receiver answers to an offer. */
async function offered(
  world: SnapshotsWorld,
  sender: SnapshotStore,
  region: metapb.Region,
  fields: OfferFields = {},
): Promise<string> {
  const { answers, stop } = offer(world, sender, region, fields);
  await world.until('an answer', () => answers.length > 0);
  stop();
  return answers[0] as string;
}

/** Offers a snapshot of `region` as store 1 would. */
function offer(
  world: SnapshotsWorld,
  sender: SnapshotStore,
  region: metapb.Region,
  fields: OfferFields = {},
): { readonly answers: readonly string[]; readonly transfer: TransferId; readonly stop: () => void } {
  const { index = 10, peer = { id: 102, storeId: 2, role: 0 } } = fields;
  const answers: string[] = [];
  const transfer = { storeId: 1, incarnation: 1, number: 1000 + Math.floor(world.random() * 1e9) };
  const stop = world.network.filterEnvelopes(({ to }, { kind, body }) => {
    if (to !== 'store-1' || !kind.startsWith('snapshot.')) return true;
    const answer = codecs.get(kind)?.decode(body) as unknown as Partial<Refusal> & {
      readonly busy?: boolean;
      readonly transfer: TransferId;
    };
    if (answer.transfer.number !== transfer.number) return true;
    if (kind === 'snapshot.answer') answers.push(answer.busy === true ? 'busy' : 'accepted');
    else if (answer.outcome === 2) answers.push(`refused ${answer.reason}`);
    return true;
  });
  const data = raft_serverpb.RaftSnapshotData.encode({
    region,
    fileSize: 0,
    data: [],
    version: 1,
    meta: undefined,
  });
  const members = {
    voters: [101, 102],
    votersOutgoing: [],
    learners: [],
    learnersNext: [],
    autoLeave: false,
  };
  const message = sender.message({ index, term: TERM, confState: members, data }, peer.id);
  const event: SnapshotOffer = {
    type: 'snapshot.offer',
    transfer,
    attempt: 1,
    raft: {
      type: 'raft',
      regionId: region.id,
      fromPeer: { id: 101, storeId: 1, role: 0 },
      toPeer: peer,
      message,
      regionEpoch: { confVer: 2, version: 2 },
      startKey: new Uint8Array(0),
      endKey: new Uint8Array(0),
    },
    region,
    estimatedBytes: fields.estimatedBytes ?? 1000,
    maxBytes: fields.maxBytes ?? 100_000,
  };
  sender.system.ref(`${nodeName(2)}/snapshots`).tell(event);
  return { answers, transfer, stop };
}

const STALE = 'refused 1';
const OVERLAPPING = 'refused 2';
const WRONG_STORE = 'refused 3';
const UNKNOWN_PEER = 'refused 4';
const TOO_LARGE = 'refused 5';
const CORRUPT = 'refused 6';

describe('snapshots that a store refuses', () => {
  let world: SnapshotsWorld;
  let sender: SnapshotStore;
  let receiver: SnapshotStore;

  beforeEach(async () => {
    world = new SnapshotsWorld(1);
    sender = await world.start(1);
    receiver = await world.start(2);
  });

  afterEach(async () => {
    expect(receiver.delivered).to.deep.equal([]);
    await world.close();
  });

  it('field note 11: one at or below what is applied here, and so stale and overlapping ones refused', async () => {
    await world.settle(receiver.makeRegion(REGION, 10, new Map()));
    const before = await world.settle(receiver.hashOf(REGION));
    for (const index of [9, 10]) expect(await offered(world, sender, REGION, { index })).to.equal(STALE);
    const wide = regionOn(2, [1, 2], { startKey: Buffer.from('r'), endKey: Buffer.from('s') });
    expect(await offered(world, sender, wide, { index: 99 })).to.equal(OVERLAPPING);
    expect(await offered(world, sender, regionOn(2, [1, 2]), { index: 99 })).to.equal('accepted');
    expect(await world.settle(receiver.hashOf(REGION))).to.equal(before);
  });

  it('one of an older epoch', async () => {
    await world.settle(receiver.makeRegion(REGION, 10, new Map()));
    for (const regionEpoch of [
      { confVer: 1, version: 2 },
      { confVer: 2, version: 1 },
      { confVer: 3, version: 1 },
    ]) {
      expect(await offered(world, sender, { ...REGION, regionEpoch }, { index: 20 })).to.equal(STALE);
    }
    const regionEpoch = { confVer: 3, version: 2 };
    expect(await offered(world, sender, { ...REGION, regionEpoch }, { index: 20 })).to.equal('accepted');
  });

  it('one for another store, or for a peer that the region does not have here', async () => {
    const peer = (id: number, storeId: number): metapb.Peer => ({ id, storeId, role: 0 });
    expect(await offered(world, sender, REGION, { peer: peer(103, 3) })).to.equal(WRONG_STORE);
    expect(await offered(world, sender, REGION, { peer: peer(999, 2) })).to.equal(UNKNOWN_PEER);
    await world.settle(receiver.makeRegion(REGION, 10, new Map()));
    const withPeer = (id: number) => ({ ...REGION, peers: [peer(101, 1), peer(id, 2)] });
    expect(await offered(world, sender, withPeer(90), { peer: peer(90, 2), index: 20 })).to.equal(STALE);
    expect(await offered(world, sender, withPeer(110), { peer: peer(110, 2), index: 20 })).to.equal(
      UNKNOWN_PEER,
    );
  });

  it('one for a peer that was removed', async () => {
    const batch = receiver.engine.batch();
    const { Tombstone: state } = raft_serverpb.PeerState;
    saveRegionState(batch, 1, { state, region: REGION });
    await world.settle(receiver.engine.write(batch));
    expect(await offered(world, sender, REGION)).to.equal(STALE);
    const next = { id: 105, storeId: 2, role: 0 } as const;
    expect(await offered(world, sender, { ...REGION, peers: [next] }, { peer: next })).to.equal('accepted');
  });

  it('one for a peer that was removed before it knew its region', async () => {
    const batch = receiver.engine.batch();
    const { Tombstone: state } = raft_serverpb.PeerState;
    const unknown = metapb.Region.from({ id: REGION.id });
    const peerId = REGION.peers.find(({ storeId }) => storeId === 2)?.id ?? 0;
    saveRegionState(batch, REGION.id, { state, region: unknown, peerId });
    await world.settle(receiver.engine.write(batch));
    expect(await offered(world, sender, REGION)).to.equal(STALE);
  });

  // Seed 1880: its sender had fallen silent, and it kept its range from others for two minutes.
  it('one whose range a snapshot on its way has, unless the peer of that is gone', async () => {
    expect(await offered(world, sender, REGION)).to.equal('accepted');
    const peer = REGION.peers.find(({ storeId }) => storeId === 2)?.id ?? 0;
    receiver.snapshots.forget(REGION.id, peer);
    const forgotten = world.clock.now();
    const wide = regionOn(2, [1, 2], { startKey: new Uint8Array(0), endKey: new Uint8Array(0) });
    await world.until('the end of the transfer', () => receiver.snapshots.held.transfers === 0);
    expect(world.clock.now() - forgotten).to.be.below(1_000);
    expect(await offered(world, sender, wide)).to.equal('accepted');
  });

  it('one whose range another snapshot on its way has', async () => {
    expect(await offered(world, sender, REGION)).to.equal('accepted');
    const wide = regionOn(2, [1, 2], { startKey: new Uint8Array(0), endKey: new Uint8Array(0) });
    expect(await offered(world, sender, wide)).to.equal(OVERLAPPING);
  });

  it('the second of two that overlap and come together', async () => {
    const wide = regionOn(2, [1, 2], { startKey: new Uint8Array(0), endKey: new Uint8Array(0) });
    const together = [offer(world, sender, REGION), offer(world, sender, wide)];
    await world.until('both answers', () => together.every(({ answers }) => answers.length > 0));
    expect(together.map(({ answers }) => answers[0])).to.deep.equal(['accepted', OVERLAPPING]);
  });

  it('one that is announced too large, or larger than it may be', async () => {
    const limit = 64 * 2 ** 30;
    const large = { estimatedBytes: limit + 1, maxBytes: 2 * limit };
    expect(await offered(world, sender, REGION, large)).to.equal(TOO_LARGE);
    expect(await offered(world, sender, REGION, { estimatedBytes: 10, maxBytes: 9 })).to.equal(TOO_LARGE);
  });

  it('one that turns out larger than announced', async () => {
    const { answers, transfer } = offer(world, sender, REGION, { estimatedBytes: 10, maxBytes: 1_000 });
    await world.until('the answer', () => answers.length > 0);
    const bulk = await sender.system.openBulk(() => {});
    const [small, large] = [10, 1_000].map((bytes, i) => {
      const chunk = new ChunkBuilder();
      chunk.add('default', Buffer.from(`r1/key ${i}`), new Uint8Array(bytes));
      return chunk.encode();
    });
    bulk.send('store-2', encodeChunkFrame(transfer, 0, small as Uint8Array));
    await world.until('the first chunk', () => receiver.snapshots.counters.chunksReceived === 1);
    bulk.send('store-2', encodeChunkFrame(transfer, 1, large as Uint8Array));
    await world.until('the refusal', () => answers.length > 1);
    expect(answers).to.deep.equal(['accepted', TOO_LARGE]);
    expect(await world.settle(receiver.leftovers())).to.deep.equal([]);
  });

  it('an older one than that which is on its way, while a newer one takes its place', async () => {
    expect(await offered(world, sender, REGION, { index: 20 })).to.equal('accepted');
    expect(await offered(world, sender, REGION, { index: 19 })).to.equal(STALE);
    expect(await offered(world, sender, REGION, { index: 21 })).to.equal('busy');
    await world.until('the older one is gone', () => receiver.snapshots.held.transfers === 0);
    expect(await offered(world, sender, REGION, { index: 21 })).to.equal('accepted');
  });

  it('more than receive places: busy', async () => {
    expect(await offered(world, sender, regionOn(1, [1, 2]))).to.equal('accepted');
    expect(await offered(world, sender, regionOn(2, [1, 2]))).to.equal('accepted');
    expect(await offered(world, sender, regionOn(3, [1, 2]))).to.equal('busy');
  });

  /** Sends a real snapshot whose chunks are changed on their way. */
  async function tampered(change: (chunk: Uint8Array, sequence: number) => Uint8Array): Promise<boolean[]> {
    await world.settle(sender.makeRegion(REGION, 10, someValues(world.random, 60)));
    const bulk = await sender.system.openBulk(() => {});
    const reasons: string[] = [];
    const stop = world.network.filter(({ lane, to, bytes }) => {
      const frame = lane === 'bulk' && to === 'store-2' ? decodeChunkFrame(bytes) : undefined;
      if (frame === undefined) return true;
      const chunk = change(frame.chunk, frame.sequence);
      if (chunk === frame.chunk) return true;
      queueMicrotask(() => bulk.send('store-2', encodeChunkFrame(frame.transfer, frame.sequence, chunk)));
      return false;
    });
    world.network.filterEnvelopes(({ to }, { kind, body }) => {
      if (to === 'store-1' && kind === 'snapshot.result') {
        reasons.push(`refused ${(codecs.get(kind)?.decode(body) as Refusal | undefined)?.reason}`);
      }
      return true;
    });
    const sending = await world.settle(sender.send(REGION, 102));
    await world.until('the report', () => (sending?.reports.length ?? 0) > 0);
    await world.until('the end', () => receiver.snapshots.held.transfers === 0);
    stop();
    expect(reasons).to.deep.equal([CORRUPT]);
    expect(await world.settle(receiver.leftovers())).to.deep.equal([]);
    return sending?.reports ?? [];
  }

  it('one with a chunk that is none', async () => {
    const once = new Set<number>();
    const broken = Buffer.from('no chunk at all');
    const change = (chunk: Uint8Array, sequence: number) => {
      if (sequence !== 3 || chunk.length === broken.length || once.has(sequence)) return chunk;
      once.add(sequence);
      return broken;
    };
    expect(await tampered(change)).to.deep.equal([false]);
  });

  it('one whose checksum is wrong though every chunk is one', async () => {
    const done = new Set<number>();
    const change = (chunk: Uint8Array, sequence: number) => {
      if (sequence !== 3 || done.has(sequence)) return chunk;
      done.add(sequence);
      const other = new Uint8Array(chunk);
      other[other.length - 1] = (other[other.length - 1] as number) ^ 1;
      return other;
    };
    expect(await tampered(change)).to.deep.equal([false]);
  });
});

describe('garbage on the bulk channel', () => {
  it('is counted and dropped, and so are chunks of nobody’s transfer', async () => {
    const world = new SnapshotsWorld(2);
    const sender = await world.start(1);
    const receiver = await world.start(2);
    const bulk = await sender.system.openBulk(() => {});
    const frame = encodeChunkFrame({ storeId: 1, incarnation: 1, number: 7 }, 0, Buffer.from('chunk'));
    const flipped = new Uint8Array(frame);
    flipped[20] = (flipped[20] as number) ^ 4;
    for (const bytes of [new Uint8Array(0), Buffer.from('hello'), flipped, frame.subarray(0, 30), frame]) {
      bulk.send('store-2', bytes);
    }
    await world.clock.advance(10);
    expect(receiver.snapshots.counters).to.include({ garbage: 4, chunksDropped: 1 });
    expect(receiver.actors()).to.deep.equal([]);
    await world.close();
  });

  it('never passes for a chunk', () => {
    const ids = fc.nat(2 ** 31);
    const chunks = fc.uint8Array({ maxLength: 100 });
    fc.assert(
      fc.property(
        ids,
        ids,
        ids,
        ids,
        chunks,
        fc.nat(),
        fc.nat(7),
        (storeId, incarnation, number, n, chunk, at, bit) => {
          const transfer = { storeId, incarnation, number };
          const frame = encodeChunkFrame(transfer, n, chunk);
          expect(decodeChunkFrame(frame)).to.deep.equal({
            transfer,
            sequence: n,
            chunk: new Uint8Array(chunk),
          });
          const damaged = new Uint8Array(frame);
          damaged[at % frame.length] = (damaged[at % frame.length] as number) ^ (1 << bit);
          expect(decodeChunkFrame(damaged)).to.equal(undefined);
          expect(decodeChunkFrame(frame.subarray(0, at % frame.length))).to.equal(undefined);
        },
      ),
      { numRuns: 300, seed: 5 },
    );
  });
});

describe('messages about snapshots', () => {
  const codec = (kind: string) => {
    const found = codecs.get(kind);
    if (found === undefined) throw new Error(`no codec for ${kind}`);
    return found;
  };

  it('are refused when they name no transfer', () => {
    for (const kind of ['offer', 'answer', 'credit', 'finish', 'result', 'cancel']) {
      expect(() => codec(`snapshot.${kind}`).decode(new Uint8Array(0)), kind).to.throw(DecodeError);
    }
  });

  it('travel between servers alone', () => {
    for (const [kind, { lanes }] of codecs) {
      if (kind.startsWith('snapshot.')) expect(lanes, kind).to.deep.equal(['peer']);
    }
  });
});

describe('installations that a crash interrupted', () => {
  /** A region that is recorded as being replaced by a snapshot that is not there. */
  async function recordInstallation(engine: Engine): Promise<void> {
    const batch = engine.batch();
    const log = new RaftLog(engine);
    const members = {
      voters: [101, 102],
      votersOutgoing: [],
      learners: [],
      learnersNext: [],
      autoLeave: false,
    };
    log.create(batch, 1, { index: 10, term: TERM }, members);
    const { Applying: state } = raft_serverpb.PeerState;
    saveRegionState(batch, 1, { state, region: REGION });
    await engine.write(batch);
    await engine.sync();
  }

  const name = snapshotFileName({ region: 1, peer: 102, index: 10, term: TERM });

  it('are damage when their snapshot is missing', async () => {
    const world = new SnapshotsWorld(1);
    const store = await world.start(2);
    await world.settle(recordInstallation(store.engine));
    const error = await world.settle(
      store.snapshots.finishInstallations().catch((thrown: unknown) => thrown),
    );
    expect(error).to.be.instanceOf(StorageCorruptionError).and.include({ file: name });
    await world.close();
  });

  it('are damage when their snapshot is not whole', async () => {
    const world = new SnapshotsWorld(1);
    const store = await world.start(2);
    await world.settle(recordInstallation(store.engine));
    const file = await world.settle(store.engine.files.open(name));
    await world.settle(file.append(Buffer.from('half a header')));
    await world.settle(file.close());
    const error = await world.settle(
      store.snapshots.finishInstallations().catch((thrown: unknown) => thrown),
    );
    expect(error).to.be.instanceOf(StorageCorruptionError);
    await world.close();
  });
});
