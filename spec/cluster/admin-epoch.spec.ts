import { expect } from 'chai';
import {
  checkEpoch,
  DATA_RULE,
  epochRule,
  isEpochStale,
  PendingEpochChanges,
} from '../../cluster/store/admin/epoch.js';
import { raft_cmdpb } from '../../storage/proto/index.js';
import { sampleRegion } from './region-samples.js';

const { AdminCmdType } = raft_cmdpb;
type KindName = keyof typeof AdminCmdType;

const admin = (kind: KindName) => raft_cmdpb.AdminRequest.from({ cmdType: AdminCmdType[kind] });

/** TiKV's `admin_cmd_epoch_lookup`, which must never change: what is checked, and what changes. */
const table: readonly [KindName | 'reads and writes', checks: string, changes: string][] = [
  ['reads and writes', 'version', ''],
  ['InvalidAdmin', '', ''],
  ['CompactLog', '', ''],
  ['ComputeHash', '', ''],
  ['VerifyHash', '', ''],
  ['TransferLeader', '', ''],
  ['ChangePeer', 'conf_ver', 'conf_ver'],
  ['ChangePeerV2', 'conf_ver', 'conf_ver'],
  ['BatchSplit', 'version conf_ver', 'version'],
  ['PrepareMerge', 'version conf_ver', 'version conf_ver'],
  ['CommitMerge', 'version conf_ver', 'version'],
  ['RollbackMerge', 'version conf_ver', 'version'],
];

const ruleOf = (name: KindName | 'reads and writes') =>
  name === 'reads and writes' ? epochRule(undefined) : epochRule(admin(name));

describe('the epoch of a region', () => {
  for (const [name, checks, changes] of table) {
    it(`${name}: checks ${checks || 'nothing'}, changes ${changes || 'nothing'}`, () => {
      const { checksVersion, checksConfVer, changesVersion, changesConfVer } = ruleOf(name);
      const words = (version: boolean, confVer: boolean) =>
        [version ? 'version' : '', confVer ? 'conf_ver' : ''].filter((word) => word !== '').join(' ');
      expect([words(checksVersion, checksConfVer), words(changesVersion, changesConfVer)]).to.deep.equal([
        checks,
        changes,
      ]);
    });

    it(`${name}: an older and a newer epoch are refused where they are checked, and only there`, () => {
      const region = sampleRegion(1, '', '', { confVer: 5, version: 8 });
      const refused = (confVer: number, version: number) =>
        checkEpoch(region, { confVer, version }, ruleOf(name)) !== undefined;
      expect(refused(5, 8), 'equal').to.equal(false);
      const version = checks.includes('version');
      const confVer = checks.includes('conf_ver');
      expect([refused(5, 7), refused(5, 9)], 'another version').to.deep.equal([version, version]);
      expect([refused(4, 8), refused(6, 8)], 'another conf_ver').to.deep.equal([confVer, confVer]);
      expect(checkEpoch(region, undefined, ruleOf(name)) !== undefined, 'no epoch').to.equal(
        version || confVer,
      );
    });
  }

  it('has a rule for every command there is, and for none that there is not', () => {
    const named = table.map(([name]) => name).filter((name) => name !== 'reads and writes');
    const known = Object.entries(AdminCmdType).filter(([, value]) => typeof value === 'number');
    expect([...named].sort()).to.deep.equal(known.map(([name]) => name).sort());
    expect(() => epochRule({ ...admin('CompactLog'), cmdType: 99 as raft_cmdpb.AdminCmdType })).to.throw(
      'no epoch rule',
    );
  });

  it('is refused with the region as it is', () => {
    const region = sampleRegion(1, 'a', 'b', { version: 8 });
    const error = checkEpoch(region, { confVer: 1, version: 7 }, DATA_RULE);
    expect(error?.epochNotMatch?.currentRegions).to.deep.equal([region]);
  });

  it('is stale when one of its halves is smaller, whatever the other is', () => {
    const stale = (a: readonly [number, number], b: readonly [number, number]) =>
      isEpochStale({ confVer: a[0], version: a[1] }, { confVer: b[0], version: b[1] });
    expect(stale([1, 1], [1, 1])).to.equal(false);
    expect(stale([1, 1], [2, 1])).to.equal(true);
    expect(stale([1, 1], [1, 2])).to.equal(true);
    expect(stale([2, 1], [1, 2]), 'ahead in one, behind in the other').to.equal(true);
    expect(stale([2, 2], [1, 1])).to.equal(false);
  });
});

describe('epoch changes that are proposed and not applied', () => {
  const split = epochRule(admin('BatchSplit'));
  const members = epochRule(admin('ChangePeerV2'));
  const merge = epochRule(admin('PrepareMerge'));
  const free = epochRule(admin('CompactLog'));

  it('hold up what depends on what they change, and nothing else', () => {
    const rows = [
      [split, DATA_RULE, true],
      [split, members, false],
      [split, split, true],
      [split, merge, true],
      [members, DATA_RULE, false],
      [members, members, true],
      [members, split, true],
      [merge, DATA_RULE, true],
      [merge, members, true],
      [split, free, false],
      [merge, free, false],
      [free, split, false],
    ] as const;
    for (const [i, [proposed, asked, held]] of rows.entries()) {
      const pending = new PendingEpochChanges();
      pending.proposed(proposed, 7, 2);
      expect(pending.conflict(asked, 2) !== undefined, `row ${i}`).to.equal(held);
    }
  });

  it('answer who waits for them once, when they are applied', () => {
    const pending = new PendingEpochChanges();
    const answered: string[] = [];
    pending.proposed(members, 5, 2);
    pending.proposed(split, 7, 2);
    expect(pending.conflict(DATA_RULE, 2)).to.equal(7);
    expect(pending.conflict(split, 2), 'the last that stands in the way').to.equal(7);
    pending.park(5, () => answered.push('members'));
    pending.park(7, () => answered.push('split'));
    pending.applied(4);
    expect(answered).to.deep.equal([]);
    pending.applied(6);
    expect(answered).to.deep.equal(['members']);
    expect(pending.conflict(members, 2)).to.equal(undefined);
    pending.applied(7);
    pending.applied(9);
    expect(answered).to.deep.equal(['members', 'split']);
    expect(pending.conflict(split, 2)).to.equal(undefined);
  });

  it('are forgotten with their term, and who waits is answered', () => {
    const pending = new PendingEpochChanges();
    let answered = 0;
    pending.proposed(split, 7, 2);
    pending.park(7, () => answered++);
    expect(pending.conflict(DATA_RULE, 3)).to.equal(undefined);
    expect(answered).to.equal(1);
    pending.park(7, () => answered++);
    expect(answered, 'nothing to wait for').to.equal(2);
  });

  it('are forgotten with the leadership', () => {
    const pending = new PendingEpochChanges();
    let answered = 0;
    pending.proposed(merge, 7, 2);
    pending.park(7, () => answered++);
    pending.clear();
    pending.clear();
    expect([answered, pending.conflict(merge, 2)]).to.deep.equal([1, undefined]);
  });
});
