import { expect } from 'chai';
import fc from 'fast-check';
import {
  COMMAND_VERSION,
  DecodeError,
  decodeCommand,
  EncodeError,
  encodeCommand,
  raft_cmdpb,
} from '../../../storage/proto/index.js';
import {
  arbitraryBytes,
  arbitraryDamage,
  arbitraryMessage,
  expectCleanRefusal,
  schemaMessage,
} from './schema.js';

const { CmdType } = raft_cmdpb;
const cf = fc.constantFrom('', 'lock', 'ein längerer Name für eine Spaltenfamilie');

function request(fields: Partial<raft_cmdpb.Request>): raft_cmdpb.Request {
  return {
    cmdType: CmdType.Invalid,
    put: undefined,
    delete: undefined,
    deleteRange: undefined,
    compareAndSwap: undefined,
    ...fields,
  };
}

const requests: fc.Arbitrary<raft_cmdpb.Request> = fc.oneof(
  fc
    .record({ cf, key: arbitraryBytes, value: fc.uint8Array({ maxLength: 300 }) })
    .map((put) => request({ cmdType: CmdType.Put, put })),
  fc.record({ cf, key: arbitraryBytes }).map((body) => request({ cmdType: CmdType.Delete, delete: body })),
  fc
    .record({ cf, startKey: arbitraryBytes, endKey: arbitraryBytes })
    .map((deleteRange) => request({ cmdType: CmdType.DeleteRange, deleteRange })),
  fc
    .record({
      cf,
      key: arbitraryBytes,
      value: arbitraryBytes,
      previousNotExist: fc.boolean(),
      previousValue: arbitraryBytes,
    })
    .map((compareAndSwap) => request({ cmdType: CmdType.CompareAndSwap, compareAndSwap })),
);
const peer = arbitraryMessage(schemaMessage('metapb.Peer').type);
const epoch = arbitraryMessage(schemaMessage('metapb.RegionEpoch').type);
const commands = fc.record({
  header: fc.record({ regionId: fc.nat(), peer, regionEpoch: epoch, term: fc.maxSafeNat() }),
  requests: fc.array(requests, { maxLength: 4 }),
  adminRequest: fc.option(arbitraryMessage(schemaMessage('raft_cmdpb.AdminRequest').type), {
    nil: undefined,
  }),
  version: fc.constant(COMMAND_VERSION),
}) as fc.Arbitrary<raft_cmdpb.RaftCmdRequest>;

const runs = { numRuns: 300, seed: 5 };

describe('command codec', () => {
  it("writes the schema's bytes, and reads them back", () => {
    fc.assert(
      fc.property(commands, (command) => {
        const bytes = encodeCommand(command);
        expect(bytes).to.deep.equal(raft_cmdpb.RaftCmdRequest.encode(command));
        expect(decodeCommand(bytes)).to.deep.equal(command);
        expect(raft_cmdpb.RaftCmdRequest.decode(bytes)).to.deep.equal(command);
      }),
      runs,
    );
  });

  it('refuses a newer version and an unknown kind, which a peer may not skip', () => {
    const newer = raft_cmdpb.RaftCmdRequest.from({ version: COMMAND_VERSION + 1 });
    expect(() => decodeCommand(raft_cmdpb.RaftCmdRequest.encode(newer)))
      .to.throw(DecodeError)
      .with.property('code', 'unknown-version');
    const unknownKind = Uint8Array.of(0x12, 2, 8, 77, 0xc8, 0x3e, 1);
    expect(() => decodeCommand(unknownKind))
      .to.throw(DecodeError)
      .with.property('code', 'unknown-enum');
    expect(() => decodeCommand(new Uint8Array())).to.throw(DecodeError, 'version');
  });

  it('refuses a request whose kind and body differ, both ways', () => {
    const empty = raft_cmdpb.RaftCmdRequest.from({
      version: 1,
      requests: [request({ cmdType: CmdType.Put })],
    });
    expect(() => encodeCommand(empty)).to.throw(EncodeError);
    expect(() => decodeCommand(raft_cmdpb.RaftCmdRequest.encode(empty))).to.throw(DecodeError, 'body');
  });

  it('refuses damage with a DecodeError', () => {
    const damage = arbitraryDamage(commands.map((command) => encodeCommand(command).slice()));
    fc.assert(
      fc.property(damage, (bytes) => expectCleanRefusal(decodeCommand, bytes)),
      { numRuns: 1000, seed: 6 },
    );
  });
});
