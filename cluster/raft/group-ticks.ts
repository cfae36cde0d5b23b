import type { Clock } from '../../actors/index.js';
import { DEFAULT_RAFT_CONFIG } from '../../machines/index.js';
import type { RaftGroup } from './group.js';
import type { HibernationOptions } from './hibernation.js';
import type { HibernationHost, MemberStores, RestingGroup } from './resting-group.js';
import { RollCall } from './roll-call.js';
import { TickRounds } from './tick-rounds.js';
import { DEFAULT_TICK_INTERVAL_MS, type RaftTuning } from './tuning.js';

export interface GroupTicksOptions {
  readonly clock: Clock;
  readonly tuning: RaftTuning | undefined;
  /** Absent where groups never rest. */
  readonly hibernation: MemberStores | undefined;
  /** After each round of ticks. */
  readonly ended: () => void;
}

/** Which of a host's groups are ticked: all of them, or where groups may rest, those that are awake. */
export class GroupTicks implements HibernationHost {
  readonly #rounds: TickRounds<RestingGroup>;
  readonly #rollCall: RollCall;
  readonly #shared: Omit<HibernationOptions, 'dormant'> | undefined;
  readonly #hibernation: GroupTicksOptions['hibernation'];
  #callsRoll = false;

  constructor({ clock, tuning = {}, hibernation, ended }: GroupTicksOptions) {
    const { tickInterval = DEFAULT_TICK_INTERVAL_MS, hibernate = true } = tuning;
    const { electionTicks = DEFAULT_RAFT_CONFIG.electionTick } = tuning;
    const { heartbeatTicks = DEFAULT_RAFT_CONFIG.heartbeatTick, quietTicks = electionTicks } = tuning;
    this.#hibernation = hibernate ? hibernation : undefined;
    this.#shared = this.#hibernation && { host: this, electionTicks, heartbeatTicks, quietTicks };
    this.#rollCall = new RollCall(electionTicks);
    this.#rounds = new TickRounds({
      clock,
      interval: tickInterval,
      begin: (late) => {
        if (this.#callsRoll) this.#rollCall.tick(this.#rounds.count, late);
      },
      end: ended,
    });
  }

  /** For a new group; `undefined` where it is always awake. @param dormant it starts without looking for a leader */
  hibernationFor(dormant: boolean): HibernationOptions | undefined {
    return this.#shared && { ...this.#shared, dormant };
  }

  /** A group has started. One that is dormant looks for its leader when its turn comes. */
  join(group: RaftGroup): void {
    if (group.asleep) this.#rollCall.enlist(group);
    else this.startTicking(group);
  }

  /** All groups that are on disk have started: those without a leader look for theirs from now on. */
  callRoll(): void {
    this.#callsRoll = true;
  }

  /** How many are ticked. */
  get awake(): number {
    return this.#rounds.members.size;
  }

  stop(): void {
    this.#rounds.stop();
  }

  // What the groups' hibernation needs.

  get ticks(): number {
    return this.#rounds.count;
  }

  startTicking(group: RestingGroup): void {
    this.#rounds.add(group);
  }

  stopTicking(group: RestingGroup): void {
    this.#rounds.delete(group);
  }

  later(group: RestingGroup, act: () => void): void {
    this.#rollCall.disturb(group, act);
  }

  adrift(group: RestingGroup): void {
    this.#rollCall.adrift(group);
  }

  notify(...notice: Parameters<HibernationHost['notify']>): void {
    this.#hibernation?.notify(...notice);
  }

  isMissing(group: RestingGroup, member: number): boolean {
    return this.#hibernation?.isMissing(group, member) ?? false;
  }

  isAlive(group: RestingGroup, member: number): boolean {
    return this.#hibernation?.isAlive(group, member) ?? false;
  }
}
