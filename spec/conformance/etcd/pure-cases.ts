import {
  type AckedIndexes,
  type Configuration,
  changeSimply,
  describeConfiguration,
  EMPTY_CONFIGURATION,
  enterJoint,
  jointCommitted,
  jointVote,
  leaveJoint,
  majorityCommitted,
  majorityVote,
  members,
  RaftError,
  type VoteResult,
} from '../../../machines/index.js';
import { type Case, valuesOf } from './datadriven.js';
import { parseSteps } from './environment.js';

/** Level 0: quorums and membership, with the properties that etcd's harness checks beside what it prints. */

class Acks extends Map<number, number> implements AckedIndexes {
  ackedIndex(id: number): number | undefined {
    return this.get(id);
  }
}

const VOTE_NAMES: Record<VoteResult, string> = { won: 'VoteWon', lost: 'VoteLost', pending: 'VotePending' };

/** Runs a case of quorum/: each stands alone. */
export function runQuorumCase(test: Case): string {
  const voters = valuesOf(test.args, 'cfg').map(Number);
  const second = valuesOf(test.args, 'cfgj');
  const joint = second.length > 0;
  const outgoing = second[0] === 'zero' ? [] : second.map(Number);
  const ids = [...new Set([...voters, ...outgoing])];
  const given = valuesOf(test.args, test.command === 'vote' ? 'votes' : 'idx');
  if (given.length !== ids.length)
    return `error: mismatched input for voters (${ids.join(' ')}): ${given.join(' ')}`;
  const known = ids.map((id, i) => [id, given[i] as string] as const).filter(([, text]) => text !== '_');
  const halves = { voters, outgoing };
  const swapped = { voters: outgoing, outgoing: voters };
  if (test.command === 'vote') {
    const votes = new Map(known.map(([id, text]) => [id, text === 'y']));
    const result = joint ? jointVote(halves, votes) : majorityVote(voters, votes);
    const also = joint ? jointVote(swapped, votes) : jointVote({ voters, outgoing: voters }, votes);
    return `${VOTE_NAMES[result]}\n${also === result ? '' : `${VOTE_NAMES[also]} <-- another way\n`}`;
  }
  const acks = new Acks(known.map(([id, text]) => [id, Number(text)]));
  const index = joint ? jointCommitted(halves, acks) : majorityCommitted(voters, acks);
  const complaints = joint
    ? differing(index, { symmetry: jointCommitted(swapped, acks) })
    : differing(index, {
        'alternative computation': slowCommitted(voters, acks),
        'zero-joint quorum': jointCommitted({ voters, outgoing: [] }, acks),
        'self-joint quorum': jointCommitted({ voters, outgoing: voters }, acks),
        ...overlays(voters, acks, index),
      });
  return `${picture(ids, acks)}${complaints}${indexText(index)}\n`;
}

/** The rule in as many words: the highest index that more than half have reached. */
export function slowCommitted(voters: readonly number[], acks: AckedIndexes): number {
  if (voters.length === 0) return Number.POSITIVE_INFINITY;
  const indexes = voters.map((id) => acks.ackedIndex(id) ?? 0);
  const reached = indexes.filter(
    (index) => indexes.filter((other) => other >= index).length * 2 > voters.length,
  );
  return Math.max(0, ...reached);
}

/** What lies below the result may fall further without changing it. */
function overlays(voters: readonly number[], acks: Acks, index: number): Record<string, number> {
  const results: Record<string, number> = {};
  for (const [id, own] of acks) {
    if (own >= index) continue;
    for (const lower of [own - 1, 0]) {
      results[`overlaying ${id}->${lower}`] = majorityCommitted(voters, new Acks([...acks, [id, lower]]));
    }
  }
  return results;
}

function differing(index: number, others: Record<string, number>): string {
  return Object.entries(others)
    .filter(([, other]) => other !== index)
    .map(([name, other]) => `${indexText(other)} <-- via ${name}\n`)
    .join('');
}

function picture(ids: readonly number[], acks: Acks): string {
  if (ids.length === 0) return '<empty majority quorum>';
  const count = ids.length;
  const ranked = ids.map((id) => acks.get(id) ?? 0).sort((a, b) => a - b);
  const lines = [...ids]
    .sort((a, b) => a - b)
    .map((id) => {
      const index = acks.get(id);
      const rank = index === undefined ? 0 : ranked.indexOf(index);
      const bar =
        index === undefined ? `?${' '.repeat(count)}` : `${'x'.repeat(rank)}>${' '.repeat(count - rank)}`;
      return `${bar} ${String(index ?? 0).padStart(5)}    (id=${id.toString(16)})\n`;
    });
  return `${' '.repeat(count)}    idx\n${lines.join('')}`;
}

function indexText(index: number): string {
  return index === Number.POSITIVE_INFINITY ? '∞' : String(index);
}

/** A configuration and its members' progress under the commands of confchange/. */
export class ConfChangeCases {
  private configuration: Configuration = EMPTY_CONFIGURATION;
  private next = new Map<number, number>();
  private lastIndex = 0;

  run(test: Case): string {
    const result = this.change(test);
    const before = this.lastIndex++;
    if (result instanceof RaftError) return `${result.message}\n`;
    const kept = this.next;
    this.configuration = result.configuration;
    this.next = new Map();
    for (const id of members(result.configuration)) {
      const old = result.added.has(id) ? undefined : kept.get(id);
      this.next.set(id, old ?? Math.max(before, 1));
    }
    const lines = [...this.next].map(([id, next]) => {
      const learner = result.configuration.learners.includes(id) ? ' learner' : '';
      return `${id}: StateProbe match=0 next=${next}${learner}\n`;
    });
    return `${describeConfiguration(result.configuration)}\n${lines.join('')}`;
  }

  private change(test: Case) {
    const steps = parseSteps(test.input);
    switch (test.command) {
      case 'simple':
        return changeSimply(this.configuration, steps);
      case 'enter-joint':
        return enterJoint(this.configuration, valuesOf(test.args, 'autoleave')[0] === 'true', steps);
      case 'leave-joint':
        return leaveJoint(this.configuration);
      default:
        throw new Error(`line ${test.line}: unknown command ${test.command}`);
    }
  }
}
