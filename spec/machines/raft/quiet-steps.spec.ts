import { expect } from 'chai';
import { QuietSteps } from '../../../machines/raft/quiet-steps.js';
import { bytes, Network, seededRandom } from './network.js';

/** What becomes of a group under faults, proposals, transfers, reads and changes of its members: every message, every state. */
function trace(seed: number): string[] {
  const random = seededRandom(seed);
  const network = Network.of(4, { preVote: seed % 2 === 0, checkQuorum: seed % 3 !== 0, electionTick: 4 });
  const lines: string[] = [];
  network.hook = (message) => {
    lines.push(JSON.stringify(message));
    return true;
  };
  const pick = () => 1 + Math.floor(random() * 4);
  for (let step = 0; step < 400; step++) {
    const { node } = network.host(pick());
    const dice = random();
    if (dice < 0.5) network.tick(1, 1, 2, 3, 4);
    else if (dice < 0.7) node.propose(bytes(`entry ${step}`));
    else if (dice < 0.76) node.readIndex(bytes(String(step)));
    else if (dice < 0.8) node.transferLeader(pick());
    else if (dice < 0.82) node.campaign();
    else if (dice < 0.84) node.forgetLeader();
    else if (dice < 0.86) node.reportUnreachable(pick());
    else if (dice < 0.9) network.isolate(pick());
    else if (dice < 0.97) network.recover();
    else {
      const kind = random() < 0.5 ? 'addLearner' : 'addVoter';
      node.proposeConfChange({ transition: 'auto', changes: [{ kind, id: 4 }], context: bytes('') });
    }
    network.settle();
    for (const { id, state, node: one } of network.hosts.values())
      lines.push(JSON.stringify([id, state, { ...one.status(), progress: [...one.status().progress] }]));
  }
  return lines;
}

describe('steps that leave the role as it is', () => {
  const { take } = QuietSteps.prototype;

  afterEach(() => {
    QuietSteps.prototype.take = take;
  });

  it('do what the chart does with them', () => {
    for (let seed = 1; seed <= 12; seed++) {
      QuietSteps.prototype.take = take;
      const quiet = trace(seed);
      QuietSteps.prototype.take = () => false;
      const charted = trace(seed);
      expect(quiet.length).to.be.above(400);
      for (const [i, line] of charted.entries()) expect(quiet[i], `seed ${seed}`).to.equal(line);
    }
  });

  it('are most of them', () => {
    let all = 0;
    let quiet = 0;
    QuietSteps.prototype.take = function (this: QuietSteps, context, event) {
      all++;
      const taken = take.call(this, context, event);
      if (taken) quiet++;
      return taken;
    };
    trace(2);
    expect(quiet / all).to.be.above(0.7);
  });
});
