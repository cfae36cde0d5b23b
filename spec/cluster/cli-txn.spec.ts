import { expect } from 'chai';
import { versionsJson, versionsPage } from '../../cluster/cli/mvcc-command.js';
import { createProgram } from '../../cluster/cli/program.js';
import { paletteFor } from '../../cluster/cli/terminal.js';
import { parseTxnScript, readingLines, readingsJson, runTxnScript } from '../../cluster/cli/txn-script.js';
import { exitCodeOf, TroupeError } from '../../cluster/errors.js';
import type { KeyVersions } from '../../cluster/index.js';
import { kvrpcpb } from '../../cluster/proto/index.js';
import { TxnWorld } from './client-txn-world.js';

const bytes = (text: string) => new Uint8Array(Buffer.from(text));

const VERSIONS: KeyVersions = {
  lock: {
    kind: 'put',
    startTimestamp: 2n ** 60n + 1n,
    primary: bytes('a'),
    ttl: 3000,
    txnSize: 2,
    minCommitTimestamp: 0n,
    useAsyncCommit: false,
    secondaries: [bytes('b')],
  },
  versions: [
    {
      kind: 'put',
      commitTimestamp: 9n,
      startTimestamp: 8n,
      value: Uint8Array.of(0xff),
      hasOverlappedRollback: true,
    },
    {
      kind: 'rollback',
      commitTimestamp: 5n,
      startTimestamp: 5n,
      value: undefined,
      hasOverlappedRollback: false,
    },
  ],
  more: true,
};

describe('troupe txn', () => {
  it('takes operations as JSON, keys and values as text or base64', () => {
    const script = [
      { op: 'get', key: 'a' },
      { op: 'put', key64: 'AP8=', value: 'ä' },
      { op: 'insert', key: 'b', value64: '' },
      { op: 'delete', key: 'c' },
      { op: 'lock', key: 'd' },
      { op: 'expect', key: 'e', value: '1' },
      { op: 'expect', key: 'f', absent: true },
      { op: 'scan', prefix: 'u', limit: 3, reverse: true, keysOnly: true },
    ];
    expect(parseTxnScript(JSON.stringify(script)).map((one) => JSON.stringify(one))).to.deep.equal(
      [
        { op: 'get', key: Buffer.from('a') },
        { op: 'put', key: Buffer.of(0, 255), value: Buffer.from('ä') },
        { op: 'insert', key: Buffer.from('b'), value: Buffer.of() },
        { op: 'delete', key: Buffer.from('c') },
        { op: 'lock', key: Buffer.from('d') },
        { op: 'expect', key: Buffer.from('e'), value: Buffer.from('1') },
        { op: 'expect', key: Buffer.from('f'), value: undefined },
        { op: 'scan', range: { prefix: Buffer.from('u'), limit: 3, reverse: true, keysOnly: true } },
      ].map((one) => JSON.stringify(one)),
    );
  });

  const wrong: readonly (readonly [script: string, sentence: RegExp])[] = [
    ['{', /the operations are not JSON/],
    ['{"op":"get"}', /give a JSON list of operations/],
    ['[1]', /operation 1: it is not a JSON object/],
    ['[{"op":"get","key":"a"},{"key":"a"}]', /operation 2: it has no "op"/],
    ['[{"op":"putt","key":"a"}]', /there is no op "putt".*Did you mean put/],
    ['[{"op":"constructor","key":"a"}]', /there is no op "constructor"/],
    ['[{"op":"get"}]', /operation 1: it has no "key"/],
    ['[{"op":"put","key":"a"}]', /it has no "value"/],
    ['[{"op":"get","key":"a","value":"1"}]', /a get takes no "value"/],
    ['[{"op":"put","key":"a","key64":"YQ==","value":"1"}]', /it has both "key" and "key64"/],
    ['[{"op":"put","key":1,"value":"1"}]', /its "key" is not a string/],
    ['[{"op":"put","key64":"?","value":"1"}]', /its "key64" is not base64/],
    ['[{"op":"scan","limit":-1}]', /its "limit" is not a whole number/],
    ['[{"op":"scan","reverse":"yes"}]', /its "reverse" is not true or false/],
    ['[{"op":"scan","prefix":"a","start":"b"}]', /give it a "prefix", or "start" and "end", not both/],
    ['[{"op":"expect","key":"a"}]', /give it a "value", or "absent": true/],
    [
      '[{"op":"expect","key":"a","value":"1","absent":true}]',
      /give it a "value", or "absent": true, not both/,
    ],
    ['[{"op":"expect","key":"a","absent":false}]', /its "absent" is not true/],
    ['[{"op":"scan","revers":true}]', /a scan takes no "revers".*Did you mean reverse/],
  ];
  for (const [script, sentence] of wrong) {
    it(`refuses ${script} with a sentence, as a matter of usage`, () => {
      const parse = () => parseTxnScript(script);
      expect(parse).to.throw(TroupeError, sentence);
      try {
        parse();
      } catch (error) {
        expect(exitCodeOf(error)).to.equal(2);
      }
    });
  }

  it('refuses bytes that are no UTF-8, which a decoder would replace', () => {
    const script = Buffer.concat([
      Buffer.from('[{"op":"put","key":"a","value":"'),
      Buffer.of(0xff),
      Buffer.from('"}]'),
    ]);
    expect(() => parseTxnScript(script)).to.throw(TroupeError, /not valid UTF-8: .*key64 and value64/);
    expect(parseTxnScript(Buffer.from('\ufeff[{"op":"get","key":"ä"}]'))).to.deep.equal([
      { op: 'get', key: Buffer.from('ä') },
    ]);
  });

  describe('runs a script', () => {
    let world: TxnWorld;
    beforeEach(async () => {
      world = await TxnWorld.start();
      world.script.get = ({ key }) => ({
        value: Buffer.from('1'),
        notFound: Buffer.from(key).toString() !== 'there',
      });
    });
    afterEach(() => world.close());

    const run = (...script: readonly object[]) =>
      world.db.transaction((txn) => runTxnScript(txn, parseTxnScript(JSON.stringify(script))), {
        onePc: false,
        asyncCommit: false,
      });
    const put = { op: 'put', key: 'b', value: '2' };

    for (const expected of [
      { op: 'expect', key: 'there', value: '1' },
      { op: 'expect', key: 'gone', absent: true },
    ])
      it(`that writes when ${JSON.stringify(expected)} holds, and goes on to hold`, async () => {
        await world.settle(run(expected, put));
        // Locked, so that the commit fails where somebody has written the key meanwhile.
        expect(
          world.of('prewrite').flatMap(({ mutations }) => mutations.map(({ op }) => op)),
        ).to.have.members([kvrpcpb.Op.Put, kvrpcpb.Op.Lock]);
      });

    for (const [expected, sentence] of [
      [
        { op: 'expect', key: 'there', value: '2' },
        /operation 2 expects key "there" to have the value "2", and it has "1"/,
      ],
      [
        { op: 'expect', key: 'there', absent: true },
        /to have the value none, and it has "1": nothing was written/,
      ],
      [{ op: 'expect', key: 'gone', value: '' }, /to have the value "", and it has none/],
    ] as const)
      it(`that writes nothing when ${JSON.stringify(expected)} does not hold, and is not begun anew`, async () => {
        const error = await world.failure(run(put, expected));
        expect([error.code, error.reason]).to.deep.equal(['conflict', 'unexpected-value']);
        expect(exitCodeOf(error)).to.equal(4);
        expect(error.message).to.match(sentence);
        expect(world.of('prewrite')).to.have.length(0);
        expect(world.of('get')).to.have.length(1);
      });

    it('whose expectations see its own writes, and that locks nothing where it only reads', async () => {
      await world.settle(run(put, { op: 'expect', key: 'b', value: '2' }));
      world.asked.length = 0;
      await world.settle(run({ op: 'expect', key: 'there', value: '1' }));
      expect(world.log).to.deep.equal(['get there']);
    });
  });

  it('prints what was read, for people and as JSON', () => {
    const pair = { key: bytes('k'), value: bytes('\t') };
    const readings = [
      { op: 'get', key: bytes('a'), value: bytes('1') },
      { op: 'get', key: bytes('b'), value: undefined },
      { op: 'scan', keysOnly: false, pairs: [pair] },
      { op: 'scan', keysOnly: true, pairs: [pair] },
    ] as const;
    expect(readings.flatMap((one) => readingLines(one))).to.deep.equal(['a\t1', 'k\t\\x09', 'k']);
    const json = readingsJson({ startTimestamp: 2n ** 60n, commitTimestamp: undefined }, readings);
    expect(JSON.parse(json)).to.deep.equal({
      startTimestamp: '1152921504606846976',
      commitTimestamp: null,
      results: [
        { op: 'get', key: 'a', value: '1' },
        { op: 'get', key: 'b', value: null },
        { op: 'scan', pairs: [{ key: 'k', value: '\t' }] },
        { op: 'scan', pairs: [{ key: 'k' }] },
      ],
    });
  });

  const refused: readonly (readonly [words: string, sentence: RegExp])[] = [
    ['txn gte a', /unknown command 'gte'.*Did you mean get/s],
    ['txn put a', /missing required argument 'value'/],
    ['txn get a\\q', /key: "a\\q" has a backslash/],
    ['txn scan --prefix a --start b', /--prefix, or --start and --end, not both/],
    ['txn scan --limit x', /--limit: "x" is not a whole number/],
    ['txn run', /missing required argument 'file'/],
    ['txn run /nowhere/at/all.json', /cannot be read: there is no such file/],
    ['txn run /', /cannot be read: it is a directory/],
    ['txn run x --jsn', /unknown option '--jsn'.*Did you mean --json/s],
    ['mvcc', /missing required argument 'key'/],
    ['mvcc k --before yesterday', /--before yesterday is not a timestamp/],
    ['mvcc k --before 0', /--before 0 is not a timestamp/],
  ];
  for (const [words, sentence] of refused) {
    it(`refuses "${words}" with a sentence`, async () => {
      const program = await createProgram();
      const error = await program.parseAsync(words.split(' '), { from: 'user' }).then(
        () => undefined,
        (cause: unknown) => cause,
      );
      expect(error).to.be.instanceOf(Error);
      expect((error as Error).message).to.match(sentence);
    });
  }
});

describe('troupe mvcc', () => {
  it('prints lock and versions as tables', () => {
    const rows = versionsPage(VERSIONS, paletteFor({}, {}))
      .split('\n')
      .map((line) => line.split(/ {2,}/));
    expect(rows).to.deep.equal([
      ['lock', 'start', 'primary', 'ttl', 'keys', 'least commit', 'commits'],
      ['put', '1152921504606846977', 'a', '3000 ms', '2', '-', 'in two phases'],
      [''],
      ['commit', 'kind', 'start', 'value'],
      ['9', 'put, rollback', '8', '\\xff'],
      ['5', 'rollback', '5', ''],
      ['(there are older ones: --before 5 shows them)'],
    ]);
  });

  it('prints JSON with timestamps as strings', () => {
    expect(JSON.parse(versionsJson(bytes('k'), VERSIONS))).to.deep.equal({
      key: 'k',
      lock: {
        kind: 'put',
        startTimestamp: '1152921504606846977',
        primary: 'a',
        ttl: 3000,
        txnSize: 2,
        minCommitTimestamp: '0',
        useAsyncCommit: false,
        secondaries: [{ key: 'b' }],
      },
      versions: [
        {
          commitTimestamp: '9',
          startTimestamp: '8',
          kind: 'put',
          hasOverlappedRollback: true,
          value64: '/w==',
        },
        { commitTimestamp: '5', startTimestamp: '5', kind: 'rollback', hasOverlappedRollback: false },
      ],
      more: true,
    });
    const empty = { lock: undefined, versions: [], more: false };
    expect(JSON.parse(versionsJson(bytes('k'), empty))).to.deep.equal({
      key: 'k',
      lock: null,
      versions: [],
      more: false,
    });
  });
});
