/** Async commit and commits in one phase. */
import { expect } from 'chai';
import {
  type CheckTxnStatusCommand,
  MAX_TIMESTAMP,
  type MvccCommand,
  type MvccOutcome,
  type Timestamp,
  type TxnStatus,
} from '../../../storage/index.js';
import { describeOnEngines, prewriteOf, put, text } from './mvcc-world.js';

const [A, B, C] = [text('a'), text('b'), text('c')];
/** A timestamp by its milliseconds. */
const at = (milliseconds: number, logical = 0n): Timestamp => (BigInt(milliseconds) << 18n) + logical;

const codes = ({ errors }: MvccOutcome): string[] => errors.map(({ code }) => code);

describeOnEngines('Async commit', (world) => {
  const run = (command: MvccCommand, commitFloor?: Timestamp) => world().run(command, commitFloor);
  const commit = (startTs: Timestamp, commitTs: Timestamp, ...keys: Uint8Array[]) =>
    run({ kind: 'commit', keys, startTs, commitTs });
  const value = async (key: Uint8Array, ts: Timestamp): Promise<string | undefined> => {
    const read = await world().get(key, ts);
    if ('error' in read) return read.error.code;
    return read.value && Buffer.from(read.value).toString();
  };

  async function check(
    primary: Uint8Array,
    lockTs: Timestamp,
    more: Partial<CheckTxnStatusCommand> = {},
  ): Promise<TxnStatus | string | undefined> {
    const outcome = await run({
      kind: 'checkTxnStatus',
      primary,
      lockTs,
      callerStartTs: 0n,
      currentTs: lockTs,
      rollbackIfNotExist: true,
      forceSyncCommit: false,
      verifyIsPrimary: true,
      ...more,
    });
    if (outcome.errors.length > 0) return outcome.errors[0]?.code;
    return outcome.reply.kind === 'checkTxnStatus' ? outcome.reply.status : undefined;
  }

  it('overlapped rollback, the rollback first: the lock of an async commit carries it', async () => {
    const command = prewriteOf(10n, A, [put(A, text('v'))], { asyncCommit: { secondaries: [] } });
    expect((await run(command, 20n)).reply).to.deep.include({ minCommitTs: 20n });
    await run({ kind: 'checkSecondaryLocks', keys: [A], startTs: 20n });
    await check(A, 19n);
    expect((await world().describe(A)).lock?.rollbackTs).to.deep.equal([20n]);
    expect(codes(await commit(10n, 20n, A))).to.deep.equal([]);
    expect((await world().describe(A)).writes[0]).to.include({ commitTs: 20n, hasOverlappedRollback: true });
    expect(await check(A, 20n)).to.deep.equal({ state: 'rolled-back', action: 'none' });
    expect(await value(A, 20n)).to.equal('v');
  });

  it('the newest of a primary waits for an async commit', async () => {
    await run(prewriteOf(10n, A, [put(A, text('v'))], { asyncCommit: { secondaries: [] } }), 20n);
    expect(await value(A, MAX_TIMESTAMP)).to.equal('key-is-locked');
    expect(await value(A, 19n)).to.equal(undefined);
  });

  it('prewrites come again after the commit: one phase and async commit answer with its timestamp', async () => {
    const onePhase = prewriteOf(10n, A, [put(A, text('v'))], { tryOnePc: true });
    for (let i = 0; i < 2; i++) {
      expect((await run(onePhase, 20n)).reply).to.deep.include({ onePcCommitTs: 20n });
    }
    expect(await world().lens()).to.deep.equal([0, 0, 1]);
    const async = prewriteOf(30n, B, [put(B, text('v'))], { asyncCommit: { secondaries: [] } });
    for (let i = 0; i < 2; i++) expect((await run(async, 40n)).reply).to.deep.include({ minCommitTs: 40n });
    await commit(30n, 40n, B);
    expect((await run(async, 90n)).reply).to.deep.include({ minCommitTs: 40n });
    expect(await value(B, 40n)).to.equal('v');
  });

  it('a prewrite that comes again is answered with what its locks say, whatever was read meanwhile', async () => {
    const asyncCommit = { secondaries: [B] };
    const command = prewriteOf(10n, A, [put(A, text('1'))], { asyncCommit });
    expect((await run(command, 20n)).reply).to.deep.include({ minCommitTs: 20n });
    expect((await run(command, 90n)).reply).to.deep.include({ minCommitTs: 20n });
    // Another leader, which does not know what was read before: the lock is as good as it was.
    expect((await run(command, 0n)).reply).to.deep.include({ minCommitTs: 20n });
    // With a key that is locked only now the transaction commits later, or in two phases.
    const both = prewriteOf(10n, A, [put(A, text('1')), put(C, text('1'))], { asyncCommit });
    expect((await run(both, 50n)).reply).to.deep.include({ minCommitTs: 50n });
    expect((await world().describe(C)).lock?.minCommitTs).to.equal(50n);
    expect((await run(both, 90n)).reply).to.deep.include({ minCommitTs: 50n });
  });

  it('what only demands absence says nothing that no lock says', async () => {
    const absent = { kind: 'checkNotExists', key: C, value: text('') } as const;
    const asked = { asyncCommit: { secondaries: [] }, minCommitTs: 15n };
    for (const floor of [0n, 90n])
      expect((await run(prewriteOf(10n, A, [absent], asked), floor)).reply).to.deep.include({
        minCommitTs: 15n,
      });
  });

  it('async commit and one phase are answered as two phases where they cannot be', async () => {
    const asked = { asyncCommit: { secondaries: [B] }, tryOnePc: true };
    const command = prewriteOf(10n, A, [put(A, text('1'))], asked);
    expect((await run(command, 0n)).reply).to.deep.include({ minCommitTs: 0n, onePcCommitTs: 0n });
    expect((await world().describe(A)).lock).to.deep.include({ useAsyncCommit: false, secondaries: [] });
    // Asked again when it could be: what is locked for two phases stays so.
    expect((await run(command, 20n)).reply).to.deep.include({ minCommitTs: 0n, onePcCommitTs: 0n });
    const tooLate = prewriteOf(10n, C, [put(C, text('1'))], { ...asked, maxCommitTs: 15n });
    expect((await run(tooLate, 20n)).reply).to.deep.include({ minCommitTs: 0n, onePcCommitTs: 0n });
  });

  it('an async commit is recovered from its secondaries', async () => {
    const asyncCommit = { secondaries: [B] };
    await run(prewriteOf(10n, A, [put(A, text('1'))], { asyncCommit }), 20n);
    const status = await check(A, 10n, { currentTs: at(99_999) });
    expect(status).to.deep.include({ state: 'locked', action: 'none' });
    const secondaries = { kind: 'checkSecondaryLocks', keys: [B], startTs: 10n } as const;
    expect((await run(secondaries)).reply).to.deep.include({ locks: [], commitTs: 0n });
    const late = prewriteOf(10n, A, [put(B, text('2'))], { asyncCommit: { secondaries: [] } });
    expect(codes(await run(late, 21n))).to.deep.equal(['write-conflict']);
    expect(await check(A, 10n, { currentTs: at(99_999), forceSyncCommit: true })).to.include({
      action: 'ttl-expired',
    });
  });
});
