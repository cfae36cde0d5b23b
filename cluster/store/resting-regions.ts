import type { ActorSystem, Clock } from '../../actors/index.js';
import { DEFAULT_RAFT_CONFIG } from '../../machines/index.js';
import { raft_serverpb } from '../../storage/proto/index.js';
import type { PeerNotice, StoreAlive } from '../protocol.js';
import type { RaftGroup } from '../raft/group.js';
import type { RaftHost } from '../raft/host.js';
import type { MemberStores, RestingGroup, RestNotice } from '../raft/resting-group.js';
import { DEFAULT_TICK_INTERVAL_MS, type RaftTuning } from '../raft/tuning.js';
import type { PeerMessages } from './peer-messages.js';
import type { RegionReplica } from './replica.js';
import type { StoreDirectory } from './store-directory.js';
import { StoreLiveness } from './store-liveness.js';

const { ExtraMessageType } = raft_serverpb;

export interface RestingRegionsParts {
  readonly storeId: number;
  readonly system: ActorSystem;
  readonly clock: Clock;
  readonly directory: StoreDirectory;
  readonly messages: PeerMessages;
  readonly host: () => RaftHost;
  /** By region. */
  readonly replicas: () => ReadonlyMap<number, RegionReplica>;
  readonly tuning?: RaftTuning | undefined;
}

/** Looks at who the neighbours are between two at whom sleeping leaders have left out: ten seconds. */
const LOOKS_PER_REMINDER = 10;

const KIND_OF = {
  request: ExtraMessageType.MsgHibernateRequest,
  response: ExtraMessageType.MsgHibernateResponse,
  wakeUp: ExtraMessageType.MsgRegionWakeUp,
} as const satisfies Record<RestNotice['type'], raft_serverpb.ExtraMessageType>;

/** A store's sleeping regions: what their peers say to each other, and which other stores they rely on. */
export class RestingRegions implements MemberStores {
  readonly #parts: RestingRegionsParts;
  readonly #liveness: StoreLiveness;
  #looks = 0;

  constructor(parts: RestingRegionsParts) {
    const { system, storeId, clock, directory, tuning = {} } = parts;
    const { tickInterval = DEFAULT_TICK_INTERVAL_MS } = tuning;
    const { heartbeatTicks = DEFAULT_RAFT_CONFIG.heartbeatTick } = tuning;
    const { electionTicks = DEFAULT_RAFT_CONFIG.electionTick } = tuning;
    this.#parts = parts;
    const alive = { type: 'store.alive', storeId, incarnation: system.incarnation } as const;
    this.#liveness = new StoreLiveness({
      clock,
      interval: tickInterval * heartbeatTicks,
      timeout: tickInterval * electionTicks,
      neighbours: () => this.#neighbours(),
      tell: (id, answer) => {
        const node = directory.nodeOf(id);
        if (node !== undefined) system.ref(`${node}/store`).tell({ ...alive, answer } satisfies StoreAlive);
      },
      // By the time of a group's turn it may have been a pause, and be over.
      missing: (id) => this.#wakeFollowers(id, () => this.#liveness.isMissing(id)),
      returned: (id) => this.#tellLeaders(id, (group) => group.wake()),
      restarted: (id) => {
        this.#wakeFollowers(id, () => true);
        this.#tellLeaders(id, (group, member) => group.callBack(member));
      },
    });
  }

  start(): void {
    this.#liveness.start();
  }

  stop(): void {
    this.#liveness.stop();
  }

  /** A sign of life of another store. */
  heard({ storeId, incarnation, answer }: StoreAlive): void {
    this.#liveness.heard(storeId, incarnation, answer);
  }

  /** Milliseconds since a store was heard that is missing; `undefined` while it is not. */
  silenceOf(storeId: number): number | undefined {
    return this.#liveness.silenceOf(storeId);
  }

  /** What a peer of another store says about resting. */
  heed({ regionId, fromPeer, toPeer, extraMsg }: PeerNotice): void {
    const replica = this.#parts.replicas().get(regionId);
    const type = typeOf(extraMsg?.type);
    if (extraMsg === undefined || type === undefined || fromPeer === undefined) return;
    if (toPeer === undefined || replica?.peerId !== toPeer.id) return;
    replica.raftGroup?.heed(fromPeer.id, { type, term: extraMsg.term, index: extraMsg.index });
  }

  notify({ id }: RestingGroup, member: number, { type, term, index }: RestNotice): void {
    const { replicas, messages } = this.#parts;
    const replica = replicas().get(id);
    const toPeer = replica?.addressee(member);
    if (replica === undefined || toPeer === undefined) return;
    const extraMsg = raft_serverpb.ExtraMessage.from({ type: KIND_OF[type], term, index });
    messages.notify(replica.region, replica.peer, toPeer, { extraMsg });
  }

  isMissing(group: RestingGroup, member: number): boolean {
    const storeId = this.#storeOf(group, member);
    return storeId !== undefined && this.#liveness.isMissing(storeId);
  }

  isAlive(group: RestingGroup, member: number): boolean {
    const storeId = this.#storeOf(group, member);
    return storeId !== undefined && this.#liveness.isAlive(storeId);
  }

  /** Those whose leader is on that store have none any more; the others' leaders are alive, and will see to it. */
  #wakeFollowers(storeId: number, isStillSo: () => boolean): void {
    this.#parts.host().wakeAll((group) => {
      const { leader, isLeader } = group;
      if (isLeader || this.#storeOf(group, leader) !== storeId) return undefined;
      return () => {
        if (isStillSo()) group.leaderIsGone(leader);
      };
    });
  }

  /** Those that went to sleep without the peer there: it may lack something. */
  #tellLeaders(storeId: number, tell: (group: RaftGroup, member: number) => void): void {
    const { host, replicas } = this.#parts;
    host().wakeAll((group) => {
      const peers = replicas().get(group.id)?.region.peers;
      const peer = peers?.find((one) => one.storeId === storeId);
      if (peer === undefined || !group.leavesOut(peer.id)) return undefined;
      return () => tell(group, peer.id);
    });
  }

  /** What they were told of a member that is back may have been lost on its way to that. */
  #remindLeaders(): void {
    const { host, replicas } = this.#parts;
    host().wakeAll((group) => {
      if (!group.isLeader || !group.asleep) return undefined;
      const peers = replicas().get(group.id)?.region.peers ?? [];
      const back = peers.some(({ id, storeId }) => group.leavesOut(id) && this.#liveness.isAlive(storeId));
      return back ? () => group.wake() : undefined;
    });
  }

  #storeOf({ id }: RestingGroup, member: number): number | undefined {
    return this.#parts.replicas().get(id)?.peerOf(member)?.storeId;
  }

  #neighbours(): Iterable<number> {
    const { storeId, replicas } = this.#parts;
    if (++this.#looks % LOOKS_PER_REMINDER === 0) this.#remindLeaders();
    const neighbours = new Set<number>();
    for (const { region } of replicas().values())
      for (const peer of region.peers) neighbours.add(peer.storeId);
    neighbours.delete(storeId);
    return neighbours;
  }
}

function typeOf(kind: raft_serverpb.ExtraMessageType | undefined): RestNotice['type'] | undefined {
  switch (kind) {
    case ExtraMessageType.MsgHibernateRequest:
      return 'request';
    case ExtraMessageType.MsgHibernateResponse:
      return 'response';
    case ExtraMessageType.MsgRegionWakeUp:
      return 'wakeUp';
    default:
      return undefined;
  }
}
