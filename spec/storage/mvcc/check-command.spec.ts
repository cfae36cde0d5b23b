/** What is refused before anything is read, the empty key first of all. */
import { expect } from 'chai';
import {
  checkCommand,
  keysOf,
  MAX_TIMESTAMP,
  type MvccCommand,
  type MvccOutcome,
} from '../../../storage/index.js';
import { bytes, del, describeOnEngines, prewriteOf, put, text } from './mvcc-world.js';

const [A, B, C] = [text('a'), text('b'), text('c')];

const codes = ({ errors }: MvccOutcome): string[] => errors.map(({ code }) => code);

describeOnEngines('Commands that contradict themselves', (world) => {
  it('what contradicts itself is refused before anything is read', async () => {
    const cases: [string, MvccCommand][] = [
      ['commit at the start', { kind: 'commit', keys: [A], startTs: 10n, commitTs: 10n }],
      ['commit before the start', { kind: 'commit', keys: [A], startTs: 10n, commitTs: 9n }],
      ['commit at the end of time', { kind: 'commit', keys: [A], startTs: 10n, commitTs: MAX_TIMESTAMP }],
      ['start at 0', prewriteOf(0n, A, [put(A, text('v'))])],
      ['start at the end of time', prewriteOf(MAX_TIMESTAMP, A, [put(A, text('v'))])],
      ['one key twice', prewriteOf(1n, A, [put(A, text('v')), del(A)])],
      ['the empty key', prewriteOf(1n, A, [put(bytes(), text('v'))])],
      ['the empty key, committed', { kind: 'commit', keys: [bytes()], startTs: 1n, commitTs: 2n }],
      ['a key too long', { kind: 'rollback', keys: [new Uint8Array(4097)], startTs: 1n }],
      ['no primary', prewriteOf(1n, bytes(), [put(A, text('v'))])],
      ['one phase without the primary', prewriteOf(1n, B, [put(A, text('v'))], { tryOnePc: true })],
      [
        'secondaries without the primary',
        prewriteOf(1n, B, [put(A, text('v'))], { asyncCommit: { secondaries: [C] } }),
      ],
      [
        'primary as a secondary',
        prewriteOf(1n, A, [put(A, text('v'))], { asyncCommit: { secondaries: [A] } }),
      ],
      [
        'primary that is not written',
        prewriteOf(1n, A, [{ kind: 'checkNotExists', key: A, value: bytes() }]),
      ],
      ['delete with a value', prewriteOf(1n, A, [{ kind: 'delete', key: A, value: text('v') }])],
      ['resolve to before the start', { kind: 'resolveLock', keys: [A], statuses: new Map([[10n, 9n]]) }],
      ['time to live below 0', { kind: 'txnHeartBeat', primary: A, startTs: 1n, adviseTtl: -1 }],
    ];
    for (const [what, command] of cases) {
      expect(checkCommand(command), what).to.include({ code: 'invalid' });
      expect(codes(await world().ask(command)), what).to.deep.equal(['invalid']);
    }
    expect(await world().lens()).to.deep.equal([0, 0, 0]);
    expect(checkCommand(prewriteOf(1n, A, []))).to.equal(undefined);
    expect(checkCommand({ kind: 'resolveLock', keys: [A], statuses: new Map([[10n, 0n]]) })).to.equal(
      undefined,
    );
    expect(keysOf({ kind: 'commit', keys: [A, B, A], startTs: 1n, commitTs: 2n })).to.deep.equal([A, B]);
  });
});
