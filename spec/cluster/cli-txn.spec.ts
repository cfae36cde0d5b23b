import { expect } from 'chai';
import { versionsJson, versionsPage } from '../../cluster/cli/mvcc-command.js';
import { createProgram } from '../../cluster/cli/program.js';
import { paletteFor } from '../../cluster/cli/terminal.js';
import { parseTxnScript, readingLines, readingsJson } from '../../cluster/cli/txn-script.js';
import { exitCodeOf, TroupeError } from '../../cluster/errors.js';
import type { KeyVersions } from '../../cluster/index.js';

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
      { op: 'scan', prefix: 'u', limit: 3, reverse: true, keysOnly: true },
    ];
    expect(parseTxnScript(JSON.stringify(script)).map((one) => JSON.stringify(one))).to.deep.equal(
      [
        { op: 'get', key: Buffer.from('a') },
        { op: 'put', key: Buffer.of(0, 255), value: Buffer.from('ä') },
        { op: 'insert', key: Buffer.from('b'), value: Buffer.of() },
        { op: 'delete', key: Buffer.from('c') },
        { op: 'lock', key: Buffer.from('d') },
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
  ];
  for (const [words, sentence] of refused) {
    it(`refuses "${words}" with a sentence`, async () => {
      const program = createProgram();
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
      ['(older ones are not shown)'],
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
