import { expect } from 'chai';
import fc from 'fast-check';
import type { Codec } from '../../actors/index.js';
import {
  decodeRegionRequests,
  decodeRegionResponses,
  encodeRegionRequests,
  encodeRegionResponses,
  type kvrpcpb,
  troupepb,
} from '../../cluster/proto/index.js';
import { codecs } from '../../cluster/protocol.js';
import { DecodeError, EncodeError } from '../../storage/proto/index.js';
import {
  arbitraryDamage,
  arbitraryMessage,
  expectCleanRefusal,
  schemaMessage,
} from '../storage/proto/schema.js';

const requestBatches = arbitraryMessage(
  schemaMessage('troupepb.RegionRequests').type,
) as fc.Arbitrary<troupepb.RegionRequests>;
const responseBatches = arbitraryMessage(
  schemaMessage('troupepb.RegionResponses').type,
) as fc.Arbitrary<troupepb.RegionResponses>;
const context: kvrpcpb.Context = {
  regionId: 1,
  regionEpoch: { confVer: 1, version: 1 },
  peer: { id: 2, storeId: 3, role: 0 },
  term: 6,
};
const runs = { numRuns: 100, seed: 7 };

/** A request or response names its one body; what it does not have may be absent or undefined. */
function bodiesOf(list: readonly object[]): object[] {
  return list.map((item) =>
    Object.fromEntries(Object.entries(item).filter(([, body]) => body !== undefined)),
  );
}

function codec(kind: string): Codec {
  const found = codecs.get(kind);
  if (found === undefined) throw new Error(`no codec for ${kind}`);
  return found;
}

describe('region codec', () => {
  it("writes the schema's bytes for requests of every kind, and reads them back", () => {
    fc.assert(
      fc.property(requestBatches, (batch) => {
        const bytes = encodeRegionRequests(batch);
        expect(bytes).to.deep.equal(troupepb.RegionRequests.encode(batch));
        const decoded = decodeRegionRequests(bytes);
        expect(decoded.context).to.deep.equal(batch.context);
        expect(decoded.requests).to.deep.equal(bodiesOf(batch.requests));
        expect(decoded.traces ?? []).to.deep.equal(batch.traces);
      }),
      runs,
    );
  }).timeout(20_000);

  it("writes the schema's bytes for responses of every kind, and reads them back", () => {
    fc.assert(
      fc.property(responseBatches, (batch) => {
        const bytes = encodeRegionResponses(batch);
        expect(bytes).to.deep.equal(troupepb.RegionResponses.encode(batch));
        const decoded = decodeRegionResponses(bytes);
        expect(decoded.regionError).to.deep.equal(batch.regionError);
        expect(decoded.responses).to.deep.equal(bodiesOf(batch.responses));
      }),
      runs,
    );
  }).timeout(20_000);

  it('refuses a request without a body, of an unknown kind, and of two kinds', () => {
    expect(() => encodeRegionRequests({ requests: [{}] })).to.throw(EncodeError);
    const refused: readonly (readonly number[])[] = [[], [0xa2, 0x06, 0], [0x6a, 0, 0x7a, 0]];
    for (const request of refused) {
      const bytes = Uint8Array.of(0x12, request.length, ...request);
      expect(() => decodeRegionRequests(bytes), String(request)).to.throw(DecodeError);
      expect(() => decodeRegionResponses(bytes), String(request)).to.throw(DecodeError);
    }
  });

  it('gives keys and values as views of the received buffer', () => {
    const rawPut = { key: Uint8Array.of(1), value: Uint8Array.of(2), cf: '' };
    const bytes = encodeRegionRequests({ context, requests: [{ rawPut }] });
    const decoded = decodeRegionRequests(bytes).requests[0]?.rawPut;
    expect(decoded).to.deep.equal({ context: undefined, ...rawPut });
    expect(decoded?.key.buffer).to.equal(bytes.buffer);
    expect(decoded?.value.buffer).to.equal(bytes.buffer);
  });

  it('refuses damage with a DecodeError', () => {
    const requests = arbitraryDamage(requestBatches.map((batch) => encodeRegionRequests(batch).slice()));
    const responses = arbitraryDamage(responseBatches.map((batch) => encodeRegionResponses(batch).slice()));
    fc.assert(
      fc.property(requests, responses, (request, response) => {
        expectCleanRefusal(decodeRegionRequests, request);
        expectCleanRefusal(decodeRegionResponses, response);
      }),
      { numRuns: 200, seed: 8 },
    );
  }).timeout(20_000);
});

describe('protocol', () => {
  it('carries a batch of reads or writes as an event of its kind', () => {
    for (const type of ['read', 'write'] as const) {
      const event = {
        type,
        context,
        requests: [{ rawGet: { context: undefined, key: Uint8Array.of(1), cf: '' } }],
      };
      expect(codec(type).decode(codec(type).encode(event))).to.deep.equal(event);
    }
    const bare = troupepb.RegionRequests.encode({ requests: [], traces: [] });
    expect(() => codec('read').decode(bare)).to.throw(DecodeError, 'context');
  });

  it("leaves the framework's own fields of an event behind", () => {
    const event = {
      type: 'pd.getRegion',
      header: undefined,
      regionKey: Uint8Array.of(5),
      needBuckets: false,
    };
    const bytes = codec('pd.getRegion').encode({ ...event, replyTo: {}, sender: 'client-1', address: 'a/b' });
    expect(codec('pd.getRegion').decode(bytes)).to.deep.equal({
      type: 'pd.getRegion',
      header: undefined,
      regionKey: Uint8Array.of(5),
    });
  });

  it('gives every kind its replies, except what peers say to each other, which has none', () => {
    for (const [kind, { encodeReply, decodeReply }] of codecs) {
      const hasReply = encodeReply !== undefined && decodeReply !== undefined;
      const told =
        ['raft', 'store.peerNotice', 'store.alive', 'store.regionOrder'].includes(kind) ||
        kind.startsWith('snapshot.');
      expect(hasReply, kind).to.equal(!told);
    }
  });

  it('lets clients ask, but not speak as a store, a scheduler or a Raft peer', () => {
    const forServers = [...codecs].filter(([, { lanes }]) => !lanes?.includes('req')).map(([kind]) => kind);
    expect(forServers).to.have.members([
      'raft',
      'store.peerNotice',
      'store.alive',
      'store.regionOrder',
      'pd.askBatchSplit',
      'pd.reportBatchSplit',
      'pd.reportMerged',
      'pd.putStore',
      'pd.allocId',
      'pd.storeHeartbeat',
      'pd.regionHeartbeat',
      'scheduler.join',
      'store.bootstrapRegion',
      'store.regionHash',
      'store.peerTerm',
      'snapshot.offer',
      'snapshot.answer',
      'snapshot.credit',
      'snapshot.finish',
      'snapshot.result',
      'snapshot.cancel',
    ]);
    for (const [kind, { lanes }] of codecs) {
      expect(lanes, kind).to.include('peer');
      expect(lanes, kind).to.not.include('res');
    }
  });

  it('refuses garbage of every kind with a DecodeError', () => {
    for (const [, { decode, decodeReply }] of codecs) {
      fc.assert(
        fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
          expectCleanRefusal(decode, bytes);
          if (decodeReply !== undefined) expectCleanRefusal(decodeReply, bytes);
        }),
        { numRuns: 100, seed: 9 },
      );
    }
  });
});
