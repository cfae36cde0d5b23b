import type { RaftGroup } from './group.js';

/** Groups that look for a leader at once. */
const LOOKING_AT_ONCE = 512;
/** Groups that are woken in one tick. */
const WAKES_PER_TICK = 256;
/** Base election timeouts after which one that found no leader makes room for others that wait. */
const PATIENCE = 3;

interface Caller {
  readonly group: RaftGroup;
  /** When it was called, in ticks. */
  readonly since: number;
}

/**
 * Wakes the many groups of a store a few at a time: those that know no leader, because their store has just started, to
 * look for one, and those whose leader's store is gone. A store with ten thousand regions must not start ten thousand elections
 * in one second. Whoever is asked for meanwhile is woken at once, and not by this.
 */
export class RollCall {
  readonly #patience: number;
  /** Without a leader, by how early they stand for election: each voter is first in its share of the regions. */
  readonly #leaderless: RaftGroup[][] = [];
  readonly #disturbed: { readonly group: RaftGroup; readonly leaderIsGone: boolean }[] = [];
  #looking: Caller[] = [];

  /** @param electionTicks ticks of the base election timeout */
  constructor(electionTicks: number) {
    this.#patience = PATIENCE * electionTicks;
  }

  /** The group knows no leader; its turn to look for one will come. */
  enlist(group: RaftGroup): void {
    const place = placeOf(group);
    while (this.#leaderless.length <= place) this.#leaderless.push([]);
    this.#leaderless[place]?.push(group);
  }

  /** Wakes a group when its turn comes. */
  disturb(group: RaftGroup, leaderIsGone: boolean): void {
    this.#disturbed.push({ group, leaderIsGone });
  }

  /** @param now ticks of the host so far */
  tick(now: number): void {
    let left = WAKES_PER_TICK;
    for (; left > 0 && this.#disturbed.length > 0; left--) this.#wakeNext();
    this.#looking = this.#looking.filter((caller) => this.#stillLooks(caller, now));
    while (left > 0 && this.#looking.length < LOOKING_AT_ONCE) {
      const group = this.#takeLeaderless();
      if (group === undefined) return;
      if (group.stopped || group.leader !== 0) continue;
      left--;
      group.callForLeader(placeOf(group) === 0);
      this.#looking.push({ group, since: now });
    }
  }

  #wakeNext(): void {
    const { group, leaderIsGone } = this.#disturbed.shift() ?? {};
    if (group === undefined || group.stopped) return;
    if (leaderIsGone) group.leaderIsGone();
    else group.wake();
  }

  #stillLooks({ group, since }: Caller, now: number): boolean {
    if (group.stopped || group.leader !== 0) return false;
    if (now - since < this.#patience || !this.#leaderless.some((waiting) => waiting.length > 0)) return true;
    group.loseHope();
    // Behind all others, whatever its place.
    this.#leaderless.at(-1)?.push(group);
    return false;
  }

  #takeLeaderless(): RaftGroup | undefined {
    for (const waiting of this.#leaderless) if (waiting.length > 0) return waiting.shift();
    return undefined;
  }
}

/** Which of the voters a peer is, counted from the one that stands first in this group; learners come last. */
function placeOf({ id, peerId, raft }: RaftGroup): number {
  const { voters } = raft;
  const index = voters.indexOf(peerId);
  return index < 0 ? voters.length : (index + id) % voters.length;
}
