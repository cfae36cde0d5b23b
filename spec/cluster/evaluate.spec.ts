import { expect } from 'chai';
import {
  type CommandResult,
  comparesAndSwaps,
  evaluateCommand,
  Overlay,
  type SwapResult,
} from '../../cluster/store/evaluate.js';
import {
  type Engine,
  encodeRawValue,
  rawKey,
  rawRange,
  SimulatedDisk,
  type WriteBatch,
} from '../../storage/index.js';
import { metapb, raft_cmdpb } from '../../storage/proto/index.js';

const { CmdType } = raft_cmdpb;
const bytes = (value: string) => Buffer.from(value);
const key = (value: string) => rawKey(bytes(value));

/** All commands of an entry, in order, as a replica does it. */
async function evaluate(
  commands: readonly raft_cmdpb.RaftCmdRequest[],
  on: metapb.Region,
  engine: Engine,
  batch: WriteBatch,
): Promise<readonly CommandResult[]> {
  const overlay = commands.some(comparesAndSwaps) ? await Overlay.of(commands, engine) : undefined;
  return commands.map((command) => evaluateCommand(command, on, batch, overlay));
}

const region = metapb.Region.from({
  id: 1,
  startKey: key('b'),
  endKey: key('m'),
  regionEpoch: { confVer: 1, version: 3 },
});

function request(body: Partial<raft_cmdpb.Request>): raft_cmdpb.Request {
  return {
    cmdType: CmdType.Put,
    put: undefined,
    delete: undefined,
    deleteRange: undefined,
    compareAndSwap: undefined,
    ...body,
  };
}

const put = (name: string, value: string) =>
  request({ cmdType: CmdType.Put, put: { cf: '', key: key(name), value: encodeRawValue(bytes(value)) } });
const remove = (name: string) => request({ cmdType: CmdType.Delete, delete: { cf: '', key: key(name) } });
const removeRange = (from: string, to: string) => {
  const { start, end } = rawRange(bytes(from), bytes(to));
  return request({ cmdType: CmdType.DeleteRange, deleteRange: { cf: '', startKey: start, endKey: end } });
};
const swap = (name: string, previous: string | undefined, value: string) =>
  request({
    cmdType: CmdType.CompareAndSwap,
    compareAndSwap: {
      cf: '',
      key: key(name),
      value: bytes(value),
      previousNotExist: previous === undefined,
      previousValue: bytes(previous ?? ''),
    },
  });

function command(requests: readonly raft_cmdpb.Request[], version = 3): raft_cmdpb.RaftCmdRequest {
  const header = { regionId: 1, peer: undefined, regionEpoch: { confVer: 1, version }, term: 6 };
  return { header, requests, adminRequest: undefined, version: 1 };
}

/** Evaluates, writes, and returns what was answered to the compare-and-swaps: value found, and whether it swapped. */
async function run(engine: Engine, ...commands: raft_cmdpb.RaftCmdRequest[]) {
  const batch = engine.batch();
  const results = await evaluate(commands, region, engine, batch);
  await engine.write(batch);
  const show = (one: SwapResult | undefined) =>
    one &&
    `${one.previous === undefined ? 'absent' : Buffer.from(one.previous).toString()}${one.succeed ? '!' : ''}`;
  return results.map(({ regionError, swaps }) => regionError ?? swaps?.map(show));
}

async function stored(engine: Engine): Promise<Record<string, string>> {
  const { keys, values } = await engine.scan('default', { limit: 100 });
  const text = (part: Uint8Array | undefined, from: number, to?: number) =>
    Buffer.from(part ?? [])
      .toString()
      .slice(from, to);
  return Object.fromEntries(keys.map((one, i) => [text(one, 1), text(values[i], 0, -1)]));
}

describe('evaluating raw commands', () => {
  let engine: Engine;
  beforeEach(async () => {
    engine = await new SimulatedDisk({ random: () => 0.5 }).open();
  });

  it('applies requests and commands in order', async () => {
    await run(
      engine,
      command([put('c', '1'), put('c', '2'), put('d', '1')]),
      command([remove('d'), put('e', '')]),
    );
    expect(await stored(engine)).to.deep.equal({ c: '2', e: '' });
  });

  it('deletes a range with its start and without its end', async () => {
    await run(engine, command(['c', 'd', 'e', 'f'].map((name) => put(name, name))));
    await run(engine, command([removeRange('d', 'f')]));
    expect(await stored(engine)).to.deep.equal({ c: 'c', f: 'f' });
  });

  it('lets a compare-and-swap see what the commands before it in the same batch did', async () => {
    await run(engine, command([put('c', 'old'), put('g', 'x')]));
    const answers = await run(
      engine,
      command([swap('c', 'old', 'one'), swap('c', 'old', 'two'), swap('c', 'one', 'three')]),
      command([remove('c'), swap('c', 'three', 'four'), swap('c', undefined, 'five')]),
      command([
        removeRange('c', 'h'),
        swap('g', undefined, 'six'),
        put('g', 'seven'),
        swap('g', 'seven', 'eight'),
      ]),
    );
    expect(answers).to.deep.equal([
      ['old!', 'one', 'one!'],
      [undefined, 'absent', 'absent!'],
      [undefined, 'absent!', undefined, 'seven!'],
    ]);
    expect(await stored(engine)).to.deep.equal({ g: 'eight' });
  });

  it('tells an empty value from an absent key', async () => {
    await run(engine, command([put('c', '')]));
    expect(await run(engine, command([swap('c', undefined, 'x'), swap('c', '', 'y')]))).to.deep.equal([
      ['', '!'],
    ]);
  });

  it('keeps the families apart', async () => {
    const inLock = request({ put: { cf: 'lock', key: key('c'), value: encodeRawValue(bytes('in lock')) } });
    await run(engine, command([put('c', 'in default'), inLock]));
    expect(await stored(engine)).to.deep.equal({ c: 'in default' });
    expect(Buffer.from((await engine.get('lock', key('c'))) ?? []).toString()).to.equal('in lock\0');
  });

  for (const { what, commands } of [
    { what: 'an older version of the region', commands: command([put('c', 'x')], 2) },
    { what: 'a newer version of the region', commands: command([put('c', 'x')], 4) },
  ]) {
    it(`refuses ${what} again when it is applied, and answers with the region`, async () => {
      const [error] = await run(engine, commands);
      expect(error).to.have.nested.property('epochNotMatch.currentRegions[0].id', 1);
      expect(await stored(engine)).to.deep.equal({});
    });
  }

  for (const { what, requests } of [
    { what: 'a key below the region', requests: [put('c', 'x'), put('a', 'x')] },
    { what: 'the key at which the next region begins', requests: [put('c', 'x'), remove('m')] },
    { what: 'a swap outside', requests: [put('c', 'x'), swap('z', undefined, 'x')] },
    { what: 'a range that reaches beyond', requests: [put('c', 'x'), removeRange('c', 'n')] },
  ]) {
    it(`refuses a command whole for ${what}`, async () => {
      const [error] = await run(engine, command(requests));
      expect(error).to.have.nested.property('keyNotInRegion.regionId', 1);
      expect(await stored(engine)).to.deep.equal({});
    });
  }

  it('takes a range that ends where the region ends', async () => {
    expect(await run(engine, command([removeRange('c', 'm')]))).to.deep.equal([undefined]);
  });
});
