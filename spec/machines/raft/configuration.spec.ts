import { expect } from 'chai';
import fc from 'fast-check';
import {
  type ConfChange,
  type Configuration,
  changeSimply,
  decodeConfChange,
  EMPTY_CONFIGURATION,
  EntryType,
  encodeConfChange,
  encodeConfChangeV1,
  enterJoint,
  leaveJoint,
  type MemberChange,
  members,
  RaftError,
  RaftInvariantError,
  reconfigure,
  restoreConfiguration,
  toConfState,
} from '../../../machines/index.js';
import { bytes } from './network.js';

const kinds = fc.constantFrom<MemberChange['kind']>('addVoter', 'removeNode', 'addLearner', 'update');
const steps = fc.array(fc.record({ kind: kinds, id: fc.integer({ min: 1, max: 7 }) }), {
  minLength: 1,
  maxLength: 12,
});

function configured(result: ReturnType<typeof changeSimply>): Configuration {
  if (result instanceof RaftError) throw result;
  return result.configuration;
}

/** Steps that keep at least one voter whichever way they are taken: the first voter is never touched. */
const base = configured(changeSimply(EMPTY_CONFIGURATION, [{ kind: 'addVoter', id: 9 }]));

/** Random walks over configurations. */
function walk(list: readonly MemberChange[]): Configuration {
  return list.reduce((at, step) => configured(changeSimply(at, [step])), base);
}

function expectSound(at: Configuration): void {
  const voting = new Set([...at.voters, ...at.outgoing]);
  for (const id of at.learners) expect(voting.has(id), `learner ${id} votes`).to.equal(false);
  for (const id of at.learnersNext) expect(at.outgoing).to.include(id);
  for (const id of at.learnersNext) expect(at.voters).not.to.include(id);
  if (at.outgoing.length === 0) expect([at.learnersNext, at.autoLeave]).to.deep.equal([[], false]);
  for (const list of [at.voters, at.outgoing, at.learners, at.learnersNext]) {
    expect(list).to.deep.equal([...new Set(list)].sort((a, b) => a - b));
  }
}

describe('configurations', () => {
  it('come out the same by simple steps and by one joint change', () => {
    fc.assert(
      fc.property(steps, steps, (before, list) => {
        const start = walk(before);
        const simple = list.reduce((at, step) => configured(changeSimply(at, [step])), start);
        const joint = configured(enterJoint(start, false, list));
        expectSound(joint);
        const left = configured(leaveJoint(joint));
        expectSound(left);
        expect(left).to.deep.equal(simple);
      }),
      { seed: 1, numRuns: 1_000 },
    );
  });

  it('never change the one that they follow from', () => {
    fc.assert(
      fc.property(steps, steps, fc.boolean(), (before, list, autoLeave) => {
        const start = walk(before);
        const copy = structuredClone(start);
        changeSimply(start, list);
        const joint = enterJoint(start, autoLeave, list);
        leaveJoint(start);
        expect(start).to.deep.equal(copy);
        if (joint instanceof RaftError) return;
        const half = structuredClone(joint.configuration);
        leaveJoint(joint.configuration);
        expect(joint.configuration).to.deep.equal(half);
      }),
      { seed: 2 },
    );
  });

  it('are rebuilt from their saved form', () => {
    fc.assert(
      fc.property(steps, steps, fc.boolean(), fc.boolean(), (before, list, joint, autoLeave) => {
        const start = walk(before);
        const state = joint ? configured(enterJoint(start, autoLeave, list)) : start;
        expect(restoreConfiguration(toConfState(state))).to.deep.equal(state);
      }),
      { seed: 3, numRuns: 1_000 },
    );
  });

  it('tell which members begin without a history', () => {
    const start = walk([{ kind: 'addVoter', id: 1 }]);
    const again = changeSimply(start, [
      { kind: 'removeNode', id: 1 },
      { kind: 'addVoter', id: 1 },
    ]);
    if (again instanceof RaftError) throw again;
    expect([...again.added]).to.deep.equal([1]);
    const joint = enterJoint(start, false, [
      { kind: 'removeNode', id: 1 },
      { kind: 'addVoter', id: 1 },
      { kind: 'addLearner', id: 2 },
    ]);
    if (joint instanceof RaftError) throw joint;
    // In a joint configuration the outgoing half still follows it.
    expect([...joint.added]).to.deep.equal([2]);
    expect(members(joint.configuration)).to.deep.equal([1, 2, 9]);
  });

  it('refuse a change by a value with a code', () => {
    const refused = leaveJoint(base);
    expect(refused).to.be.instanceOf(RaftError);
    expect(refused).to.include({ code: 'conf-change-invalid', message: "can't leave a non-joint config" });
  });

  it('take a simple change for one step, a joint one for several', () => {
    const one: ConfChange = {
      transition: 'auto',
      changes: [{ kind: 'addVoter', id: 1 }],
      context: bytes(''),
    };
    expect(configured(reconfigure(base, one)).outgoing).to.deep.equal([]);
    const two: ConfChange = { ...one, changes: [...one.changes, { kind: 'addVoter', id: 2 }] };
    expect(configured(reconfigure(base, two))).to.deep.include({ outgoing: [9], autoLeave: true });
    const explicit: ConfChange = { ...one, transition: 'explicit' };
    expect(configured(reconfigure(base, explicit))).to.deep.include({ outgoing: [9], autoLeave: false });
  });
});

describe('membership changes as bytes', () => {
  const context = fc.uint8Array({ maxLength: 40 });
  const id = fc.maxSafeNat();

  it('come back as they went', () => {
    fc.assert(
      fc.property(
        fc.constantFrom<ConfChange['transition']>('auto', 'implicit', 'explicit'),
        fc.array(fc.record({ kind: kinds, id })),
        context,
        (transition, changes, extra) => {
          const change: ConfChange = { transition, changes, context: extra };
          const data = encodeConfChange(change);
          expect(decodeConfChange({ type: EntryType.confChangeV2, data })).to.deep.equal(change);
        },
      ),
      { seed: 4 },
    );
    fc.assert(
      fc.property(kinds, id, context, (kind, node, extra) => {
        const data = encodeConfChangeV1({ kind, id: node }, extra);
        expect(decodeConfChange({ type: EntryType.confChange, data })).to.deep.equal({
          transition: 'auto',
          changes: [{ kind, id: node }],
          context: extra,
        });
      }),
      { seed: 5 },
    );
  });

  it('leave a joint configuration with no bytes at all', () => {
    const leave: ConfChange = { transition: 'auto', changes: [], context: bytes('') };
    expect(encodeConfChange(leave)).to.have.length(0);
    expect(decodeConfChange({ type: EntryType.confChangeV2, data: bytes('') })).to.deep.equal(leave);
  });

  it('are never half understood', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 20 }),
        fc.constantFrom(EntryType.confChange, EntryType.confChangeV2),
        (data, type) => {
          try {
            decodeConfChange({ type, data });
          } catch (error) {
            expect(error).to.be.instanceOf(RaftInvariantError);
          }
        },
      ),
      { seed: 6, numRuns: 2_000 },
    );
  });
});
