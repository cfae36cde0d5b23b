import { expect } from 'chai';
import fc from 'fast-check';
import { RaftInvariantError } from '../../../machines/index.js';
import { Inflights } from '../../../machines/raft/inflights.js';
import { Progress } from '../../../machines/raft/progress.js';

function member(match: number, next: number, maxMessages = 256, maxBytes = 0): Progress {
  return new Progress(match, next, new Inflights(maxMessages, maxBytes));
}

describe('the window of appends under way', () => {
  it('counts as a plain list would', () => {
    const operation = fc.oneof(
      fc.record({ kind: fc.constant('add' as const), bytes: fc.nat(100) }),
      fc.record({ kind: fc.constant('free' as const), through: fc.nat(400) }),
    );
    fc.assert(
      fc.property(
        fc.array(operation, { maxLength: 500 }),
        fc.integer({ min: 1, max: 150 }),
        fc.nat(2_000),
        (operations, max, maxBytes) => {
          const window = new Inflights(max, maxBytes);
          let model: { index: number; bytes: number }[] = [];
          let index = 0;
          for (const step of operations) {
            if (step.kind === 'free') {
              window.freeThrough(step.through);
              model = model.filter((append) => append.index > step.through);
            } else if (window.full) {
              expect(() => window.add(index + 1, step.bytes)).to.throw(RaftInvariantError);
            } else {
              window.add(++index, step.bytes);
              model.push({ index, bytes: step.bytes });
            }
            const bytes = model.reduce((sum, append) => sum + append.bytes, 0);
            expect(window.count).to.equal(model.length);
            expect(window.full).to.equal(model.length >= max || (maxBytes > 0 && bytes >= maxBytes));
          }
        },
      ),
      { seed: 1 },
    );
  });
});

describe('a follower as its leader sees it', () => {
  it('is paused by a probe with entries and freed by an acknowledgement', () => {
    const progress = member(1, 2);
    progress.sentEntries(0, 0);
    expect(progress.paused).to.equal(false);
    progress.sentEntries(3, 30);
    expect([progress.paused, progress.next]).to.deep.equal([true, 2]);
    expect(progress.maybeUpdate(4)).to.equal(true);
    expect([progress.paused, progress.match, progress.next]).to.deep.equal([false, 4, 5]);
  });

  it('is paused when its window is full, softly where bytes count', () => {
    const progress = member(0, 1, 10, 100);
    progress.becomeReplicate();
    progress.sentEntries(1, 99);
    expect(progress.paused).to.equal(false);
    progress.sentEntries(1, 500);
    expect([progress.paused, progress.next, progress.inflights.count]).to.deep.equal([true, 3, 2]);
  });

  it('is probed from behind a snapshot that arrived, and from what matches when it did not', () => {
    const arrived = member(2, 3);
    arrived.becomeSnapshot(10);
    expect([arrived.paused, arrived.next, arrived.sentCommit]).to.deep.equal([true, 11, 10]);
    arrived.becomeProbe();
    expect([arrived.next, arrived.pendingSnapshot]).to.deep.equal([11, 0]);
    const lost = member(2, 3);
    lost.becomeSnapshot(10);
    lost.pendingSnapshot = 0;
    lost.becomeProbe();
    expect([lost.next, lost.sentCommit]).to.deep.equal([3, 2]);
  });

  it('never falls to what it has acknowledged, whatever rejections come late', () => {
    fc.assert(
      fc.property(
        fc.constantFrom('probe' as const, 'replicate' as const),
        fc.nat(20),
        fc.nat(20),
        fc.nat(50),
        fc.nat(50),
        (state, match, ahead, rejected, hint) => {
          const progress = member(match, match + 1 + ahead);
          progress.state = state;
          progress.maybeDecrease(rejected, hint);
          expect(progress.next).to.be.greaterThan(progress.match);
          expect(progress.match).to.equal(match);
        },
      ),
      { seed: 2, numRuns: 2_000 },
    );
  });

  it('is sent a commit index only while that can move its own', () => {
    const progress = member(5, 8);
    progress.sentCommit = 3;
    expect(progress.canBumpCommit(5)).to.equal(true);
    progress.sentCommit = 5;
    expect(progress.canBumpCommit(5)).to.equal(false);
    progress.sentCommit = 7;
    expect(progress.canBumpCommit(9), 'it has everything it could commit').to.equal(false);
  });
});
