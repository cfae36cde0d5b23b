import type { ActorSystem, Clock, Logger } from '../../actors/index.js';
import type { Message, Status } from '../../machines/index.js';
import type { SchedulerRefusal } from '../../machines/scheduler.machine.js';
import type { RaftEvent } from '../../storage/proto/index.js';
import { pdpb } from '../proto/index.js';
import type { RaftGroup } from '../raft/group.js';
import { handLeadershipsOver, type Led } from '../raft/hand-over.js';
import type { RaftHost } from '../raft/host.js';
import type { CompactedReplica } from '../raft/log-gc.js';
import type { StateMachine } from '../raft/state-machine.js';
import { SchedulerFault } from './fault.js';
import type { Membership } from './membership.js';
import { memberPeer, SCHEDULER_GROUP } from './snapshots.js';
import { type Command, type CommandResult, encodeCommand } from './state.js';

export interface SchedulerGroupParts {
  readonly system: ActorSystem;
  readonly membership: Membership;
  /** Node names of all members; a member's id is its place here, counted from 1. */
  readonly schedulers: readonly string[];
  readonly clock: Clock;
  readonly logger: Logger;
  readonly pid: number;
}

const NO_KEY = new Uint8Array(0);

/** The schedulers' Raft group as one member has it: what it sends, proposes and confirms there. */
export class SchedulerGroup implements CompactedReplica, Led {
  readonly #parts: SchedulerGroupParts;
  readonly #name: string;
  #group: RaftGroup | undefined;

  constructor(parts: SchedulerGroupParts) {
    this.#parts = parts;
    this.#name = parts.system.node;
  }

  /** `undefined` before it is opened. */
  get raftGroup(): RaftGroup | undefined {
    return this.#group;
  }

  get term(): number {
    return this.#group?.term ?? 0;
  }

  /** Opens the replica that is on disk. */
  async open(host: RaftHost, machine: StateMachine): Promise<RaftGroup> {
    const { schedulers, membership } = this.#parts;
    const group = await host.open(SCHEDULER_GROUP, schedulers.indexOf(this.#name) + 1, machine);
    this.#group = group;
    membership.attach(() => this.#group);
    return group;
  }

  /** A message of another member. */
  step({ message }: RaftEvent): void {
    if (this.#parts.membership.withholds(message.type)) return;
    this.#group?.step(message);
  }

  send(message: Message): void {
    const { schedulers, system } = this.#parts;
    const to = schedulers[message.to - 1];
    if (to === undefined) return;
    const event: RaftEvent = {
      type: 'raft',
      regionId: SCHEDULER_GROUP,
      fromPeer: memberPeer(message.from),
      toPeer: memberPeer(message.to),
      message,
      regionEpoch: { confVer: 1, version: 1 },
      startKey: NO_KEY,
      endKey: NO_KEY,
    };
    system.ref(`${to}/raft`).tell(event);
  }

  /** Replicates a command, which may be repeated. @throws SchedulerFault `NOT_LEADER` when it cannot */
  propose(command: Command): Promise<CommandResult> {
    return new Promise((resolve, reject) => {
      if (this.#group === undefined) return reject(this.refusal('starting'));
      this.#group.propose(encodeCommand(command), (outcome) => {
        // Every command may be repeated, so a lost one needs no other answer than one that was refused.
        if (outcome.ok) resolve(outcome.result as CommandResult);
        else reject(this.refusal('not-leader'));
      });
    });
  }

  /** Everything that earlier leaders committed is applied (ReadIndex). @throws SchedulerFault `NOT_LEADER` */
  caughtUp(): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#group === undefined) return reject(this.refusal('starting'));
      this.#group.read((outcome) => (outcome.ok ? resolve() : reject(this.refusal('not-leader'))));
    });
  }

  /** Every member cuts its log behind this entry. */
  compactLog(index: number, term: number): void {
    this.propose({ compactLog: { index, term } }).catch((error: unknown) => {
      this.#parts.logger.debug({ err: error }, "the schedulers' log is cut another time");
    });
  }

  members(): { members: pdpb.Member[]; leader: pdpb.Member | undefined } {
    const { schedulers, pid } = this.#parts;
    const members = schedulers.map((name, i) => ({
      name,
      memberId: i + 1,
      pid: name === this.#name ? pid : 0,
    }));
    return { members, leader: members[(this.#group?.leader ?? 0) - 1] };
  }

  /** Why this member does not answer, and who does. */
  refusal(reason: Exclude<SchedulerRefusal, 'not-bootstrapped'>): SchedulerFault {
    const leader = reason === 'not-leader' ? (this.members().leader?.name ?? '') : '';
    const why =
      reason === 'stopped' ? 'has stopped' : reason === 'starting' ? 'is starting' : 'does not lead';
    return new SchedulerFault(pdpb.ErrorType.NOT_LEADER, `${this.#name} ${why}`, leader);
  }

  /**
   * Gives leadership to another scheduler, if it has it.
   * @param patience milliseconds that it may take
   * @returns 1 when it is still led here, else 0
   */
  handOver(patience: number): Promise<number> {
    return handLeadershipsOver(() => (this.#group?.isLeader ? [this] : []), this.#parts.clock, patience);
  }

  withdraw(): boolean {
    const status = this.#group?.status();
    if (status === undefined) return false;
    if (status.transferee !== 0) return true;
    const next = successorOf(status);
    if (next !== undefined) this.#group?.transferLeader(next);
    return next !== undefined;
  }
}

/** The voter that is alive and has most of the log; `undefined` when there is none. */
function successorOf({ id, progress }: Status): number | undefined {
  const others = [...progress].filter(([member, { live, learner }]) => member !== id && live && !learner);
  return others.sort(([, a], [, b]) => b.match - a.match)[0]?.[0];
}
