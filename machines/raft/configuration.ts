import { type ConfChange, entersJoint, leavesJoint, type MemberChange } from './conf-change.js';
import { RaftError } from './errors.js';
import type { ConfState } from './types.js';

/**
 * Who votes, who learns. All lists ascend.
 *
 * Invariants: learners vote in neither half; learnersNext is within outgoing; outgoing empty means learnersNext empty
 * and no autoLeave.
 */
export interface Configuration {
  /** The voters; in a joint configuration its incoming half. */
  readonly voters: readonly number[];
  /** The half that a joint configuration will leave; empty when it is not joint. */
  readonly outgoing: readonly number[];
  readonly learners: readonly number[];
  /** Voters of the outgoing half that become learners when it is left: until then they still vote. */
  readonly learnersNext: readonly number[];
  readonly autoLeave: boolean;
}

/** A configuration, and which of its members start without any history although a namesake may have had one. */
export interface Reconfiguration {
  readonly configuration: Configuration;
  readonly added: ReadonlySet<number>;
}

/** Nobody is a member. */
export const EMPTY_CONFIGURATION: Configuration = {
  voters: [],
  outgoing: [],
  learners: [],
  learnersNext: [],
  autoLeave: false,
};

/** The configuration after `change`, or why it cannot follow from this one; the one given is never touched. */
export function reconfigure(from: Configuration, change: ConfChange): Reconfiguration | RaftError {
  if (leavesJoint(change)) return leaveJoint(from);
  const joint = entersJoint(change);
  return joint === undefined
    ? changeSimply(from, change.changes)
    : enterJoint(from, joint.autoLeave, change.changes);
}

/** Applies steps that change at most one voter. */
export function changeSimply(
  from: Configuration,
  steps: readonly MemberChange[],
): Reconfiguration | RaftError {
  if (isJoint(from)) return invalid("can't apply simple config change in joint config");
  const draft = new Draft(from);
  if (!draft.apply(steps)) return noVoter();
  let changed = 0;
  for (const id of from.voters) if (!draft.voters.has(id)) changed++;
  for (const id of draft.voters) if (!from.voters.includes(id)) changed++;
  if (changed > 1) return invalid('more than one voter changed without entering joint config');
  return draft.finish(false);
}

/** Makes the voters the outgoing half and applies the steps to the incoming one. */
export function enterJoint(
  from: Configuration,
  autoLeave: boolean,
  steps: readonly MemberChange[],
): Reconfiguration | RaftError {
  if (isJoint(from)) return invalid('config is already joint');
  if (from.voters.length === 0) return invalid("can't make a zero-voter config joint");
  const draft = new Draft({ ...from, outgoing: from.voters });
  if (!draft.apply(steps)) return noVoter();
  return draft.finish(autoLeave);
}

/** Drops the outgoing half; the voters that were demoted meanwhile become learners. */
export function leaveJoint(from: Configuration): Reconfiguration | RaftError {
  if (!isJoint(from)) return invalid("can't leave a non-joint config");
  const draft = new Draft({ ...from, outgoing: [], learnersNext: [] });
  for (const id of from.learnersNext) draft.learners.add(id);
  return draft.finish(false);
}

/** Rebuilds a configuration from its saved form by the steps that would have led to it. */
export function restoreConfiguration(state: ConfState): Configuration | RaftError {
  let at: Configuration | RaftError = EMPTY_CONFIGURATION;
  const incoming: MemberChange[] = [];
  for (const id of state.votersOutgoing) {
    at = stepTo(at, { kind: 'addVoter', id });
    incoming.push({ kind: 'removeNode', id });
  }
  for (const id of state.voters) incoming.push({ kind: 'addVoter', id });
  for (const id of state.learners) incoming.push({ kind: 'addLearner', id });
  for (const id of state.learnersNext) incoming.push({ kind: 'addLearner', id });
  if (state.votersOutgoing.length === 0) {
    for (const step of incoming) at = stepTo(at, step);
    return at;
  }
  if (at instanceof RaftError) return at;
  const joint = enterJoint(at, state.autoLeave, incoming);
  return joint instanceof RaftError ? joint : joint.configuration;
}

/** The form in which membership is saved. */
export function toConfState(configuration: Configuration): ConfState {
  return {
    voters: configuration.voters,
    votersOutgoing: configuration.outgoing,
    learners: configuration.learners,
    learnersNext: configuration.learnersNext,
    autoLeave: configuration.autoLeave,
  };
}

/** Whether both describe the same membership, in whatever order they list it. */
export function sameConfState(a: ConfState, b: ConfState): boolean {
  return (
    sameIds(a.voters, b.voters) &&
    sameIds(a.votersOutgoing, b.votersOutgoing) &&
    sameIds(a.learners, b.learners) &&
    sameIds(a.learnersNext, b.learnersNext) &&
    a.autoLeave === b.autoLeave
  );
}

/** Whether two majorities are needed: a change of membership is under way (Raft thesis 4.3). */
export function isJoint(configuration: Configuration): boolean {
  return configuration.outgoing.length > 0;
}

/** Whether it votes in either half. */
export function isVoter(configuration: Configuration, id: number): boolean {
  return configuration.voters.includes(id) || configuration.outgoing.includes(id);
}

/** Every id of the configuration, ascending. */
export function members(configuration: Configuration): number[] {
  const { voters, outgoing, learners } = configuration;
  return ascending(new Set([...voters, ...outgoing, ...learners]));
}

/** As people read it: `(1 2)&&(1 3) learners=(4) learners_next=(3) autoleave`, as etcd prints it. */
export function describeConfiguration(configuration: Configuration): string {
  const { voters, outgoing, learners, learnersNext, autoLeave } = configuration;
  const list = (ids: readonly number[]) => `(${ids.join(' ')})`;
  let text = `voters=${list(voters)}`;
  if (outgoing.length > 0) text += `&&${list(outgoing)}`;
  if (learners.length > 0) text += ` learners=${list(learners)}`;
  if (learnersNext.length > 0) text += ` learners_next=${list(learnersNext)}`;
  return autoLeave ? `${text} autoleave` : text;
}

/** A configuration in the making; nobody sees it before `finish`. */
class Draft {
  readonly voters: Set<number>;
  readonly learners: Set<number>;
  private readonly outgoing: readonly number[];
  private readonly learnersNext: Set<number>;
  /** Who is followed; removed and added again within one change means that its history is void. */
  private readonly tracked: Set<number>;
  private readonly added = new Set<number>();

  constructor(from: Configuration) {
    this.voters = new Set(from.voters);
    this.outgoing = from.outgoing;
    this.learners = new Set(from.learners);
    this.learnersNext = new Set(from.learnersNext);
    this.tracked = new Set(members(from));
  }

  /** Returns false when no voter would be left. */
  apply(steps: readonly MemberChange[]): boolean {
    for (const { kind, id } of steps) {
      if (id === 0 || kind === 'update') continue;
      if (kind === 'addVoter') this.makeVoter(id);
      else if (kind === 'addLearner') this.makeLearner(id);
      else this.remove(id);
    }
    return this.voters.size > 0;
  }

  finish(autoLeave: boolean): Reconfiguration {
    return {
      configuration: {
        voters: ascending(this.voters),
        outgoing: this.outgoing,
        learners: ascending(this.learners),
        learnersNext: ascending(this.learnersNext),
        autoLeave,
      },
      added: this.added,
    };
  }

  private makeVoter(id: number): void {
    this.track(id);
    this.learners.delete(id);
    this.learnersNext.delete(id);
    this.voters.add(id);
  }

  private makeLearner(id: number): void {
    if (this.learners.has(id)) return;
    this.track(id);
    this.voters.delete(id);
    if (this.outgoing.includes(id)) this.learnersNext.add(id);
    else this.learners.add(id);
  }

  private remove(id: number): void {
    this.voters.delete(id);
    this.learners.delete(id);
    this.learnersNext.delete(id);
    if (!this.outgoing.includes(id)) {
      this.tracked.delete(id);
      this.added.delete(id);
    }
  }

  private track(id: number): void {
    if (this.tracked.has(id)) return;
    this.tracked.add(id);
    this.added.add(id);
  }
}

function stepTo(from: Configuration | RaftError, step: MemberChange): Configuration | RaftError {
  if (from instanceof RaftError) return from;
  const next = changeSimply(from, [step]);
  return next instanceof RaftError ? next : next.configuration;
}

function sameIds(a: readonly number[], b: readonly number[]): boolean {
  const ids = new Set(a);
  return ids.size === new Set(b).size && b.every((id) => ids.has(id));
}

function ascending(ids: Iterable<number>): number[] {
  return [...ids].sort((a, b) => a - b);
}

function noVoter(): RaftError {
  return new RaftError('conf-change-no-voter', 'removed all voters');
}

function invalid(sentence: string): RaftError {
  return new RaftError('conf-change-invalid', sentence);
}
