import type { RestingGroup } from './resting-group.js';

/** Groups that are awake at once because they were called, at first and at most. */
const FIRST_WINDOW = 256;
const LARGEST_WINDOW = 512;
const SMALLEST_WINDOW = 8;
/** Groups that ask in one tick who leads, without waking. */
const ASKED_PER_TICK = 128;
/** Ticks in which a leader that exists has answered, or an election elsewhere has begun. */
const ANSWER_TICKS = 4;
/** Base election timeouts that one may take, and that others leave to those who stand before them. */
const PATIENCE = 3;

interface Call {
  readonly group: RestingGroup;
  /** When it was called, in ticks. */
  readonly since: number;
}

interface Disturbance {
  readonly group: RestingGroup;
  readonly act: () => void;
}

/**
 * Wakes the many groups of a store a few at a time: those that know no leader, because their store has just started, to
 * look for one, and those whose leader's store is gone. A store with ten thousand regions must not hold ten thousand elections
 * at once: messages would take longer than the timeouts, and none of the elections would come to an end.
 *
 * So many are awake at once as a window allows. It doubles as long as those that were called fall asleep again soon, and is
 * halved when they do not, or when this store's ticks are late (as TCP does). Whoever is asked for meanwhile is woken at
 * once, and not by this.
 */
export class RollCall {
  readonly #electionTicks: number;
  /** To be told what has happened elsewhere. */
  readonly #disturbed: Disturbance[] = [];
  /** Without a leader, and first to stand for election: each voter is that in its share of the groups. */
  readonly #first: RestingGroup[] = [];
  /** Without a leader; others stand before them. */
  readonly #others: RestingGroup[] = [];
  /** Have had their turn, and found none. */
  readonly #again: { readonly group: RestingGroup; readonly notBefore: number }[] = [];
  #called: Call[] = [];
  #window = FIRST_WINDOW;
  #halvedAt = 0;

  /** @param electionTicks ticks of the base election timeout */
  constructor(electionTicks: number) {
    this.#electionTicks = electionTicks;
  }

  /** The group knows no leader; its turn to look for one will come. */
  enlist(group: RestingGroup): void {
    (placeOf(group) === 0 ? this.#first : this.#others).push(group);
  }

  /**
   * The group is awake, and has found no leader for two election timeouts or more: where others wait, it sleeps again until
   * its next turn.
   */
  adrift(group: RestingGroup): void {
    if (!this.#someoneWaits) return;
    group.loseHope();
    if (group.asleep) this.#again.push({ group, notBefore: 0 });
  }

  /** Something has happened to a group: `act` when its turn comes, and if that is still so. */
  disturb(group: RestingGroup, act: () => void): void {
    this.#disturbed.push({ group, act });
  }

  /**
   * @param now ticks of the host so far
   * @param late this one should have been long ago
   */
  tick(now: number, late: boolean): void {
    if (late) this.#halve(now);
    this.#called = this.#called.filter((call) => !this.#isOver(call, now, late));
    while (this.#called.length < this.#window) {
      const group = this.#wakeDisturbed() ?? this.#callFirst() ?? this.#callAgain(now);
      if (group === undefined) break;
      this.#called.push({ group, since: now });
    }
    if (this.#first.length === 0) this.#askOthers(now);
  }

  #wakeDisturbed(): RestingGroup | undefined {
    for (let next = this.#disturbed.shift(); next !== undefined; next = this.#disturbed.shift()) {
      if (next.group.stopped) continue;
      next.act();
      return next.group;
    }
    return undefined;
  }

  #callFirst(): RestingGroup | undefined {
    for (let group = this.#first.shift(); group !== undefined; group = this.#first.shift()) {
      if (!looks(group)) continue;
      group.standForElection(ANSWER_TICKS);
      return group;
    }
    return undefined;
  }

  #callAgain(now: number): RestingGroup | undefined {
    for (let next = this.#again[0]; next !== undefined && next.notBefore <= now; next = this.#again[0]) {
      const { group } = next;
      this.#again.shift();
      if (!looks(group)) continue;
      group.standForElection(ANSWER_TICKS * (1 + placeOf(group)));
      return group;
    }
    return undefined;
  }

  /** A leader that exists answers; where none does, another peer is first to stand. */
  #askOthers(now: number): void {
    for (let left = Math.min(ASKED_PER_TICK, this.#window); left > 0; left--) {
      const group = this.#others.shift();
      if (group === undefined) return;
      if (!looks(group)) continue;
      group.askForLeader();
      this.#again.push({ group, notBefore: now + this.#patience });
    }
  }

  #isOver({ group, since }: Call, now: number, late: boolean): boolean {
    const ticks = now - since;
    if (group.stopped || ticks >= this.#patience) return true;
    const gaveUp = group.asleep && group.leader === 0;
    if (gaveUp || ticks === 2 * this.#electionTicks) this.#halve(now);
    if (!group.asleep) return false;
    // One more for each that is done soon doubles the window in the time that one takes.
    const soon = !gaveUp && ticks <= this.#electionTicks + ANSWER_TICKS;
    if (soon && !late) this.#window = Math.min(LARGEST_WINDOW, this.#window + 1);
    return true;
  }

  #halve(now: number): void {
    if (now - this.#halvedAt < this.#electionTicks) return;
    this.#halvedAt = now;
    this.#window = Math.max(SMALLEST_WINDOW, Math.floor(this.#window / 2));
  }

  get #patience(): number {
    return PATIENCE * this.#electionTicks;
  }

  get #someoneWaits(): boolean {
    return this.#disturbed.length + this.#first.length + this.#again.length > 0;
  }
}

function looks({ stopped, leader }: RestingGroup): boolean {
  return !stopped && leader === 0;
}

/** Which of the voters a peer is, counted from the one that stands first in this group; learners come last. */
function placeOf({ id, peerId, raft }: RestingGroup): number {
  const { voters } = raft;
  const index = voters.indexOf(peerId);
  return index < 0 ? voters.length : (index + id) % voters.length;
}
