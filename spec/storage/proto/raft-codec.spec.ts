import { expect } from 'chai';
import fc from 'fast-check';
import type { Entry, EntryType, Message, MessageType, Snapshot } from '../../../machines/raft/types.js';
import {
  DecodeError,
  decodeEntry,
  decodeMessage,
  decodeRaftEvent,
  EncodeError,
  encodeEntry,
  encodeMessage,
  encodeRaftEvent,
  eraftpb,
  type RaftEvent,
  raft_serverpb,
} from '../../../storage/proto/index.js';
import {
  arbitraryBytes,
  arbitraryDamage,
  arbitraryMessage,
  arbitraryUint64,
  expectCleanRefusal,
  schemaMessage,
} from './schema.js';

/** eraftpb's number of each message that goes from peer to peer: the schema's, written down once more. */
const numbers: readonly (readonly [MessageType, number])[] = [
  ['propose', 2],
  ['appendEntries', 3],
  ['appendEntriesResponse', 4],
  ['requestVote', 5],
  ['requestVoteResponse', 6],
  ['installSnapshot', 7],
  ['heartbeat', 8],
  ['heartbeatResponse', 9],
  ['transferLeader', 13],
  ['timeoutNow', 14],
  ['readIndex', 15],
  ['readIndexResponse', 16],
  ['requestPreVote', 17],
  ['requestPreVoteResponse', 18],
];
const LOCAL = [0, 1, 10, 11, 12];

const entryTypes = fc.constantFrom<EntryType>(0, 1, 2);
const arbitraryEntry: fc.Arbitrary<Entry> = fc.record({
  term: arbitraryUint64,
  index: arbitraryUint64,
  type: entryTypes,
  data: arbitraryBytes,
});
const members = fc.array(arbitraryUint64, { maxLength: 3 });
const arbitrarySnapshot: fc.Arbitrary<Snapshot> = fc.record({
  index: arbitraryUint64,
  term: arbitraryUint64,
  confState: fc.record({
    voters: members,
    votersOutgoing: members,
    learners: members,
    learnersNext: members,
    autoLeave: fc.boolean(),
  }),
  data: arbitraryBytes,
});

/** Messages that Raft's rules allow: entries that follow `index` and `logTerm` without a gap, a snapshot where it belongs. */
const arbitraryRaftMessage: fc.Arbitrary<Message> = fc
  .record({
    type: fc.constantFrom(...numbers.map(([type]) => type)),
    to: arbitraryUint64,
    from: arbitraryUint64,
    term: arbitraryUint64,
    logTerm: arbitraryUint64,
    index: fc.integer({ min: 0, max: 2 ** 52 }),
    bodies: fc.array(fc.record({ type: entryTypes, data: arbitraryBytes, termStep: fc.nat({ max: 3 }) }), {
      maxLength: 5,
    }),
    commit: arbitraryUint64,
    reject: fc.boolean(),
    rejectHint: arbitraryUint64,
    context: arbitraryBytes,
    snapshot: arbitrarySnapshot,
  })
  .map(({ bodies, snapshot, ...rest }) => {
    let term = Math.min(rest.logTerm, 2 ** 52);
    const entries = bodies.map(({ type, data, termStep }, i) => {
      term += termStep;
      return { term, index: rest.index + 1 + i, type, data };
    });
    return {
      ...rest,
      logTerm: Math.min(rest.logTerm, 2 ** 52),
      term: Math.max(rest.term, term),
      entries,
      vote: 0,
      snapshot: rest.type === 'installSnapshot' ? snapshot : undefined,
    };
  });

function schemaForm(message: Message): eraftpb.Message {
  const { type, snapshot, entries, vote, ...rest } = message;
  return {
    ...rest,
    msgType: numbers.find(([name]) => name === type)?.[1] as eraftpb.MessageType,
    entries: entries.map(schemaEntry),
    snapshot: snapshot && {
      data: snapshot.data,
      metadata: { confState: snapshot.confState, index: snapshot.index, term: snapshot.term },
    },
  };
}

function schemaEntry({ type, term, index, data }: Entry): eraftpb.Entry {
  return { entryType: type, term, index, data };
}

function message(fields: Partial<Message>): Message {
  return {
    type: 'heartbeat',
    to: 2,
    from: 1,
    term: 5,
    logTerm: 0,
    index: 0,
    entries: [],
    commit: 0,
    vote: 0,
    reject: false,
    rejectHint: 0,
    context: new Uint8Array(),
    snapshot: undefined,
    ...fields,
  };
}

function entry(index: number, term: number): Entry {
  return { index, term, type: 0, data: Uint8Array.of(1) };
}

const runs = { numRuns: 300, seed: 3 };

describe('raft codec', () => {
  it("writes the schema's bytes for entries, and reads them back", () => {
    fc.assert(
      fc.property(arbitraryEntry, (value) => {
        const bytes = encodeEntry(value);
        expect(bytes).to.deep.equal(eraftpb.Entry.encode(schemaEntry(value)));
        expect(decodeEntry(bytes)).to.deep.equal(value);
      }),
      runs,
    );
  });

  it("writes the schema's bytes for messages, and reads them back", () => {
    fc.assert(
      fc.property(arbitraryRaftMessage, (value) => {
        const bytes = encodeMessage(value);
        expect(bytes).to.deep.equal(eraftpb.Message.encode(schemaForm(value)));
        expect(decodeMessage(bytes)).to.deep.equal(value);
        expect(eraftpb.Message.decode(bytes)).to.deep.equal(schemaForm(value));
      }),
      runs,
    );
  });

  it("writes the schema's bytes for the envelope, and reads them back", () => {
    const { type } = schemaMessage('metapb.Peer');
    const envelope = fc.record({
      type: fc.constant('raft' as const),
      regionId: arbitraryUint64,
      fromPeer: arbitraryMessage(type),
      toPeer: arbitraryMessage(type),
      message: arbitraryRaftMessage,
      regionEpoch: arbitraryMessage(schemaMessage('metapb.RegionEpoch').type),
      startKey: arbitraryBytes,
      endKey: arbitraryBytes,
    });
    const envelopes = fc.oneof(
      envelope,
      fc
        .tuple(envelope, fc.uint8Array({ minLength: 1, maxLength: 40 }))
        .map(([bare, extraCtx]) => ({ ...bare, extraCtx })),
    ) as fc.Arbitrary<RaftEvent>;
    fc.assert(
      fc.property(envelopes, (event) => {
        const bytes = encodeRaftEvent(event);
        const { type, message: inner, ...rest } = event;
        const schema = raft_serverpb.RaftMessage.from({ ...rest, message: schemaForm(inner) });
        expect(bytes).to.deep.equal(raft_serverpb.RaftMessage.encode(schema));
        expect(decodeRaftEvent(bytes)).to.deep.equal(event);
      }),
      runs,
    );
  });

  it('knows every message type by the number of eraftpb', () => {
    for (const [type, number] of numbers) {
      const snapshot: Snapshot = {
        index: 1,
        term: 1,
        confState: { voters: [1], votersOutgoing: [], learners: [], learnersNext: [], autoLeave: false },
        data: new Uint8Array(),
      };
      const bytes = encodeMessage(
        message({ type, snapshot: type === 'installSnapshot' ? snapshot : undefined }),
      );
      expect(eraftpb.Message.decode(bytes).msgType, type).to.equal(number);
    }
  });

  it('neither sends nor takes what a peer tells only itself', () => {
    for (const type of ['entriesPersisted', 'entriesApplied'] as const) {
      expect(() => encodeMessage(message({ type }))).to.throw(EncodeError, type);
    }
    for (const msgType of [...LOCAL, 19, 1000]) {
      const bytes = Uint8Array.from(msgType < 128 ? [8, msgType, 16, 2] : [8, 0xe8, 7, 16, 2]);
      expect(() => decodeMessage(bytes), `type ${msgType}`)
        .to.throw(DecodeError)
        .with.property('code', 'unknown-enum');
    }
    expect(encodeMessage(message({})), 'the writer is clean afterwards').to.deep.equal(
      eraftpb.Message.encode(schemaForm(message({}))),
    );
  });

  const broken: readonly (readonly [string, Partial<Message>])[] = [
    ['a gap', { index: 4, logTerm: 2, entries: [entry(5, 2), entry(7, 2)] }],
    ['a gap before the first', { index: 4, logTerm: 2, entries: [entry(6, 2)] }],
    ['a repeated index', { index: 4, logTerm: 2, entries: [entry(5, 2), entry(5, 2)] }],
    ['a term that goes back', { index: 4, logTerm: 2, entries: [entry(5, 3), entry(6, 2)] }],
    ["a term below its predecessor's", { index: 4, logTerm: 2, entries: [entry(5, 1)] }],
    ["a term above the sender's", { index: 4, logTerm: 2, term: 5, entries: [entry(5, 6)] }],
  ];
  for (const [what, fields] of broken) {
    it(`refuses an append with ${what}`, () => {
      const bytes = encodeMessage(message({ type: 'appendEntries', ...fields }));
      expect(() => decodeMessage(bytes))
        .to.throw(DecodeError)
        .with.property('code', 'malformed');
    });
  }

  it('refuses a snapshot message without one, and a snapshot in another message', () => {
    expect(() => decodeMessage(encodeMessage(message({ type: 'installSnapshot' })))).to.throw(
      DecodeError,
      'without',
    );
    const stray = eraftpb.Message.encode({
      ...schemaForm(message({})),
      snapshot: { data: Uint8Array.of(1) },
    });
    expect(() => decodeMessage(stray)).to.throw(DecodeError, 'with a snapshot');
  });

  it('refuses terms and indexes from 2^53 on', () => {
    const tooLarge = Uint8Array.from([8, 8, 32, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10]);
    expect(() => decodeMessage(tooLarge))
      .to.throw(DecodeError)
      .with.property('code', 'out-of-range');
  });

  it('refuses an envelope without a message', () => {
    expect(() => decodeRaftEvent(Uint8Array.of(8, 1))).to.throw(DecodeError, 'no message');
  });

  it('gives entries as views of the received buffer', () => {
    const bytes = encodeMessage(
      message({ type: 'appendEntries', logTerm: 1, index: 1, entries: [entry(2, 2)] }),
    );
    expect(decodeMessage(bytes).entries[0]?.data.buffer).to.equal(bytes.buffer);
  });

  it('refuses damage with a DecodeError', () => {
    const damage = arbitraryDamage(arbitraryRaftMessage.map((value) => encodeMessage(value).slice()));
    fc.assert(
      fc.property(damage, (bytes) => {
        expectCleanRefusal(decodeMessage, bytes);
        expectCleanRefusal(decodeRaftEvent, bytes);
        expectCleanRefusal(decodeEntry, bytes);
      }),
      { numRuns: 1000, seed: 4 },
    );
  });
});
