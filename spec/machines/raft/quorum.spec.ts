import { expect } from 'chai';
import fc from 'fast-check';
import {
  type AckedIndexes,
  jointCommitted,
  jointVote,
  majorityCommitted,
  majorityVote,
} from '../../../machines/index.js';

class Acks extends Map<number, number> implements AckedIndexes {
  ackedIndex(id: number): number | undefined {
    return this.get(id);
  }
}

/** The rule in as many words: the highest index that more than half have reached. */
function slowCommitted(voters: readonly number[], acks: AckedIndexes): number {
  if (voters.length === 0) return Number.POSITIVE_INFINITY;
  const indexes = voters.map((id) => acks.ackedIndex(id) ?? 0);
  const reached = indexes.filter(
    (index) => indexes.filter((other) => other >= index).length * 2 > voters.length,
  );
  return Math.max(0, ...reached);
}

const ids = fc.uniqueArray(fc.integer({ min: 1, max: 9 }), { maxLength: 9 });
const acks = fc
  .array(fc.tuple(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 20 })))
  .map((pairs) => new Acks(pairs));
const votes = fc.array(fc.tuple(fc.integer({ min: 1, max: 9 }), fc.boolean())).map((pairs) => new Map(pairs));

describe('quorums', () => {
  it('commit what a slow count of the voters commits', () => {
    fc.assert(
      fc.property(ids, acks, (voters, known) => {
        expect(majorityCommitted(voters, known)).to.equal(slowCommitted(voters, known));
      }),
      { seed: 1, numRuns: 5_000 },
    );
  });

  it('commit jointly what both halves commit', () => {
    fc.assert(
      fc.property(ids, ids, acks, (voters, outgoing, known) => {
        const both = Math.min(slowCommitted(voters, known), slowCommitted(outgoing, known));
        expect(jointCommitted({ voters, outgoing }, known)).to.equal(both);
        expect(jointCommitted({ voters: outgoing, outgoing: voters }, known)).to.equal(both);
      }),
      { seed: 2, numRuns: 2_000 },
    );
  });

  it('never commit less when a voter acknowledges more', () => {
    fc.assert(
      fc.property(ids, acks, fc.integer({ min: 1, max: 9 }), (voters, known, id) => {
        const more = new Acks([...known, [id, (known.get(id) ?? 0) + 5]]);
        expect(majorityCommitted(voters, more)).to.be.at.least(majorityCommitted(voters, known));
      }),
      { seed: 3 },
    );
  });

  it('decide an election as soon as the missing votes cannot change it, and not before', () => {
    fc.assert(
      fc.property(ids, votes, (voters, cast) => {
        const missing = voters.filter((id) => !cast.has(id));
        const with_ = (vote: boolean) =>
          majorityVote(voters, new Map([...cast, ...missing.map((id) => [id, vote] as const)]));
        const result = majorityVote(voters, cast);
        if (result === 'pending') expect([with_(true), with_(false)]).to.deep.equal(['won', 'lost']);
        else expect([with_(true), with_(false)]).to.deep.equal([result, result]);
      }),
      { seed: 4, numRuns: 2_000 },
    );
  });

  it('need both halves to win and either to lose', () => {
    fc.assert(
      fc.property(ids, ids, votes, (voters, outgoing, cast) => {
        const halves = [majorityVote(voters, cast), majorityVote(outgoing, cast)];
        const expected = halves.includes('lost') ? 'lost' : halves.includes('pending') ? 'pending' : 'won';
        expect(jointVote({ voters, outgoing }, cast)).to.equal(expected);
      }),
      { seed: 5, numRuns: 2_000 },
    );
  });
});
