import { expect } from 'chai';
import fc from 'fast-check';
import { kvrpcpb, pdpb } from '../../../cluster/proto/index.js';
import { DecodeError, EncodeError, metapb } from '../../../storage/proto/index.js';
import {
  arbitraryDamage,
  arbitraryMessage,
  expectCleanRefusal,
  referenceBytes,
  schemaMessages,
} from './schema.js';

const runs = { numRuns: 60, seed: 1 };

describe('generated codecs', () => {
  for (const { name, type, codec } of schemaMessages) {
    it(`${name}: gives back what it took, in protobufjs' own bytes, and refuses damage with a DecodeError`, () => {
      const values = arbitraryMessage(type);
      fc.assert(
        fc.property(values, (value) => {
          const bytes = codec.encode(value);
          expect(bytes).to.deep.equal(referenceBytes(type, value));
          expect(codec.decode(bytes)).to.deep.equal(codec.from(value));
        }),
        runs,
      );
      const damage = arbitraryDamage(values.map((value) => codec.encode(value)));
      fc.assert(
        fc.property(damage, (bytes) => expectCleanRefusal((input) => codec.decode(input), bytes)),
        runs,
      );
    });
  }

  it('count in numbers up to 2^53-1 and refuse what is above, both ways', () => {
    for (const id of [0, 1, 2 ** 32, 2 ** 53 - 1]) {
      expect(metapb.Peer.decode(metapb.Peer.encode({ id, storeId: 0, role: 0 })).id).to.equal(id);
    }
    for (const id of [2 ** 53, -1, 1.5, Number.NaN]) {
      expect(() => metapb.Peer.encode({ id, storeId: 0, role: 0 })).to.throw(EncodeError, 'metapb.Peer.id');
    }
    // 2^53, and 2^64-1.
    for (const varint of [
      [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10],
      [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
    ]) {
      expect(() => metapb.Peer.decode(Uint8Array.from([8, ...varint])))
        .to.throw(DecodeError, 'metapb.Peer.id')
        .with.property('code', 'out-of-range');
    }
  });

  it("keep all 64 bits of the oracle's timestamps as bigints", () => {
    const { GetGCSafePointResponse: Response } = pdpb;
    for (const safePoint of [0n, 2n ** 53n - 1n, 2n ** 53n, 2n ** 53n + 1n, 2n ** 64n - 1n]) {
      expect(Response.decode(Response.encode(Response.from({ safePoint }))).safePoint).to.equal(safePoint);
    }
    for (const safePoint of [2n ** 64n, -1n]) {
      expect(() => Response.encode(Response.from({ safePoint }))).to.throw(EncodeError);
    }
    const conflict = kvrpcpb.WriteConflict.from({ startTs: 2n ** 63n, conflictTs: 1n });
    expect(kvrpcpb.WriteConflict.decode(kvrpcpb.WriteConflict.encode(conflict))).to.deep.equal(conflict);
  });

  it('refuse enum values that the schema does not name', () => {
    expect(() => metapb.Peer.decode(Uint8Array.from([24, 99])))
      .to.throw(DecodeError)
      .with.property('code', 'unknown-enum');
    expect(() => metapb.Peer.encode({ id: 1, storeId: 1, role: 99 as metapb.PeerRole })).to.throw(
      EncodeError,
    );
  });

  it('skip fields that they do not know', () => {
    const known = metapb.Peer.encode({ id: 7, storeId: 8, role: 1 });
    const more = Uint8Array.from([...known, 0xaa, 0x06, 2, 1, 2]);
    expect(metapb.Peer.decode(more)).to.deep.equal({ id: 7, storeId: 8, role: 1 });
  });

  it('return bytes as views of the buffer', () => {
    const bytes = metapb.Region.encode(metapb.Region.from({ startKey: Uint8Array.of(1, 2, 3) }));
    expect(metapb.Region.decode(bytes).startKey.buffer).to.equal(bytes.buffer);
  });

  it('refuse a length of 4 GiB without reserving it', () => {
    const bytes = Uint8Array.from([0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]);
    const before = process.memoryUsage.rss();
    for (const { codec } of schemaMessages) expectCleanRefusal((input) => codec.decode(input), bytes);
    expect(process.memoryUsage.rss() - before).to.be.below(64 * 1024 * 1024);
  });
});
