import { expect } from 'chai';
import { type PurgeOutcome, sentenceOf } from '../../cluster/cli/undeploy-command.js';
import { TroupeError } from '../../cluster/errors.js';

const said = (outcome: Partial<PurgeOutcome>): string => {
  try {
    return sentenceOf({ name: 'it', ended: true, removed: [], refused: [], ...outcome });
  } catch (error) {
    if (error instanceof TroupeError) return `${error.code}: ${error.message}`;
    throw error;
  }
};

describe('undeploy --purge', () => {
  const busy = new TroupeError('conflict', 'host-2: it is being deployed: try again in a moment');
  const forbidden = new TroupeError('unavailable', 'this NATS user may not ask');

  it('says in one sentence what is gone', () => {
    expect(said({ removed: ['on host-1'] })).to.equal('it is no more, nor is its state.');
    expect(said({ ended: false, removed: ['on host-1'] })).to.equal('it is no more, nor is its state.');
    expect(said({ removed: ['on host-1', 'on host-2'] })).to.equal(
      'it is no more, nor are its states on host-1 and on host-2.',
    );
    expect(said({ removed: ['on host-1', 'on host-2', 'in the usual directory here'] })).to.equal(
      'it is no more, nor are its states on host-1, on host-2 and in the usual directory here.',
    );
  });

  it('says what is not, and why, with the code of the first that refused', () => {
    expect(said({ ended: false, refused: [busy] })).to.equal(
      'conflict: it is not wholly purged: host-2: it is being deployed: try again in a moment',
    );
    expect(said({ removed: ['on host-1', 'on host-3'], refused: [forbidden, busy] })).to.equal(
      'unavailable: it is no more, but not wholly purged: this NATS user may not ask; host-2: it is being deployed: try again in a moment (its state is removed on host-1 and on host-3)',
    );
  });

  it('does not find what is nowhere', () => {
    expect(said({ ended: false })).to.match(/^not-found: no actor named it is deployed, and neither/);
  });
});
