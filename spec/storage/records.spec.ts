import { expect } from 'chai';
import {
  decodeRawValue,
  deleteRegionState,
  encodeRawValue,
  loadIdentity,
  loadRegionState,
  loadRegionStates,
  SimulatedDisk,
  StorageError,
  saveIdentity,
  saveRegionState,
} from '../../storage/index.js';
import { metapb, raft_serverpb } from '../../storage/proto/index.js';
import { IDENTITY_KEY } from '../../storage/raft-keys.js';

const open = () => new SimulatedDisk({ random: () => 0 }).open();

function state(
  id: number,
  kind: raft_serverpb.PeerState = raft_serverpb.PeerState.Normal,
): raft_serverpb.RegionLocalState {
  const region = metapb.Region.from({
    id,
    startKey: Uint8Array.of(0x72, id % 256),
    regionEpoch: { confVer: 1, version: 2 },
    peers: [{ id: id + 1, storeId: 3, role: metapb.PeerRole.Voter }],
  });
  return raft_serverpb.RegionLocalState.from({ state: kind, region });
}

describe('Records of a store', () => {
  it('keeps region states, tombstones too', async () => {
    const engine = await open();
    const batch = engine.batch();
    for (let id = 1; id <= 2500; id++) saveRegionState(batch, id, state(id));
    saveRegionState(batch, 9, state(9, raft_serverpb.PeerState.Tombstone));
    deleteRegionState(batch, 10);
    await engine.write(batch);
    expect(await loadRegionState(engine, 9)).to.deep.equal(state(9, raft_serverpb.PeerState.Tombstone));
    expect(await loadRegionState(engine, 10)).to.equal(undefined);
    const all = await loadRegionStates(engine);
    expect(all.map(({ region }) => region?.id)).to.deep.equal(
      Array.from({ length: 2500 }, (_, i) => i + 1).filter((id) => id !== 10),
    );
  });

  it("keeps the store's identity, and refuses a newer format with a sentence", async () => {
    const engine = await open();
    expect(await loadIdentity(engine)).to.equal(undefined);
    const identity = { clusterId: 2 ** 53 - 1, storeId: 4, node: 'store-1', cluster: 'demo', incarnation: 7 };
    let batch = engine.batch();
    saveIdentity(batch, identity);
    await engine.write(batch);
    expect(await loadIdentity(engine)).to.deep.equal({ ...identity, format: 1 });
    batch = engine.batch();
    batch.put('raft', IDENTITY_KEY, raft_serverpb.StoreIdent.encode({ ...identity, format: 2 }));
    await engine.write(batch);
    const error = await loadIdentity(engine).catch((e: unknown) => e);
    expect(error).to.be.instanceOf(StorageError);
    expect((error as Error).message).to.match(
      /has format 2, this version reads up to 1: start a newer version/,
    );
  });

  it('ends raw values in a flag byte, with an expiry before it when there is one', () => {
    const value = Uint8Array.of(1, 2, 3);
    expect([...encodeRawValue(value)]).to.deep.equal([1, 2, 3, 0]);
    expect([...encodeRawValue(value, 258)]).to.deep.equal([1, 2, 3, 0, 0, 0, 0, 0, 0, 1, 2, 1]);
    for (const expiresAt of [undefined, 0, 1, 2 ** 53 - 1]) {
      for (const bytes of [new Uint8Array(0), value]) {
        const decoded = decodeRawValue(encodeRawValue(bytes, expiresAt));
        expect([...decoded.value]).to.deep.equal([...bytes]);
        expect(decoded.expiresAt).to.equal(expiresAt);
      }
    }
    for (const bad of [[], [2], [1], [0, 0, 0, 0, 0, 0, 0, 1]]) {
      expect(() => decodeRawValue(Uint8Array.from(bad))).to.throw(StorageError, /unknown flags/);
    }
  });
});
