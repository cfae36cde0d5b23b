import type { ActorRef, ActorSystem, Clock, Logger, TimerHandle } from '../../actors/index.js';
import {
  type InitialState,
  judgeSnapshot,
  type Message,
  type RecoveringPeerHost,
  type RecoveryFloor,
  recoveringPeerMachine,
  type Snapshot,
} from '../../machines/index.js';
import type { Engine } from '../../storage/index.js';
import { metapb } from '../../storage/proto/index.js';
import { saveRecoveryFloor } from '../../storage/repair-record.js';
import type { SchedulerClient } from '../pd-client.js';
import type { troupepb } from '../proto/index.js';
import { peerPath } from '../protocol.js';
import type { RaftGroup } from '../raft/group.js';
import { NOTHING } from '../raft/initial-log.js';
import type { RegionReplica } from './replica.js';

export interface RecoveringPeerParts {
  readonly system: ActorSystem;
  readonly engine: Engine;
  readonly scheduler: SchedulerClient;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Milliseconds. */
  readonly tickInterval: number;
  readonly electionTicks: number;
  /** Name of the store's node, as far as it is known. */
  readonly nodeOf: (storeId: number) => string | undefined;
  readonly send: (replica: RegionReplica, message: Message) => void;
  /** Starts the replica's Raft group on what is told instead of what is on disk. */
  readonly startGroup: (replica: RegionReplica, initial: InitialState) => RaftGroup;
  /** Takes the group back, of which nothing has become durable. */
  readonly abandonGroup: (replica: RegionReplica) => Promise<void>;
  /** The region goes on without the peer, or is no more. */
  readonly unwanted: (replica: RegionReplica) => void;
  /** The snapshot is durable: the peer is like any other. */
  readonly whole: (replica: RegionReplica) => void;
}

type Context = Parameters<typeof judgeSnapshot>[0];

/**
 * What the machine `recoveringPeer` acts with: one peer of a repaired store, on its way back
 * (docs/decisions/store-repair.md).
 */
export class RecoveringPeer implements RecoveringPeerHost {
  readonly replica: RegionReplica;
  readonly #parts: RecoveringPeerParts;
  readonly #actor: ActorRef;
  readonly #path: string;
  /** As the scheduler last told. */
  #region: metapb.Region;
  #ticker: TimerHandle | undefined;
  #waited = '';
  #taken = false;
  #over = false;

  constructor(replica: RegionReplica, known: RecoveryFloor | undefined, parts: RecoveringPeerParts) {
    const { region, peer } = replica;
    this.replica = replica;
    this.#region = region;
    this.#parts = parts;
    this.#path = `${peerPath(region.id, peer.id)}/recovery`;
    this.#actor = parts.system.spawn(recoveringPeerMachine, {
      path: this.#path,
      input: {
        host: this,
        id: peer.id,
        voters: votersOf(region),
        known,
        electionTicks: parts.electionTicks,
      },
    });
    this.#tick();
  }

  /** A message of the group. */
  take(message: Message): void {
    this.#actor.tell({ type: 'raft', message });
  }

  /** Whether it may be worth to send this snapshot here. */
  admits(message: Message): boolean {
    const context = this.#context();
    const { snapshot } = message;
    if (context === undefined || snapshot === undefined) return false;
    const verdict = judgeSnapshot(context, message);
    // The members that it names are asked first; then it may come again.
    if (verdict === 'ask-first') this.take(message);
    return verdict === 'take';
  }

  /** The snapshot that it took is durable. */
  restored(): void {
    this.#actor.tell({ type: 'restored' });
    this.stop();
    this.#parts.whole(this.replica);
  }

  /** What it took is written, or about to be. */
  installing(): void {
    this.#taken = true;
  }

  /**
   * The Raft group could not take the snapshot in.
   * @returns false when it is on disk already: then the peer stops, and a restart goes on from there.
   */
  failed(error: Error): boolean {
    if (this.#taken) return false;
    const { logger, abandonGroup } = this.#parts;
    const { region, peer } = this.replica;
    logger.warn({ err: error, region: region.id, peer: peer.id }, 'a snapshot could not be taken in');
    abandonGroup(this.replica).then(
      () => this.#actor.tell({ type: 'restoreFailed' }),
      // The engine's own failure stops the store.
      () => {},
    );
    return true;
  }

  stop(): void {
    this.#over = true;
    if (this.#ticker !== undefined) this.#parts.clock.clearTimeout(this.#ticker);
  }

  // The machine's actions.

  askTerms(peers: readonly number[]): void {
    const region = this.#region;
    const { peer } = this.replica;
    const { logger } = this.#parts;
    const waited = peers.join(' ');
    if (waited !== this.#waited) {
      const stores = region.peers.filter(({ id }) => peers.includes(id)).map(({ storeId }) => storeId);
      logger.info(
        { region: region.id, peer: peer.id, stores },
        'a peer of this repaired store waits for these stores to say the terms that they know',
      );
    }
    this.#waited = waited;
    for (const id of peers) void this.#askTerm(id);
    void this.#askVoters();
  }

  saveFloor(recovery: RecoveryFloor): void {
    const { engine, logger } = this.#parts;
    const { region, peer } = this.replica;
    const batch = engine.batch();
    saveRecoveryFloor(batch, region.id, peer.id, recovery);
    engine
      .write(batch)
      .then(() => engine.sync())
      .then(
        () => this.#actor.tell({ type: 'floorSaved' }),
        // The engine's own failure stops the store.
        (error: unknown) => logger.error({ err: error, region: region.id }, 'the floor could not be saved'),
      );
  }

  send(message: Message): void {
    this.#parts.send(this.replica, message);
  }

  sayBeyondRepair(): void {
    const { region, peer } = this.replica;
    this.#parts.logger.error(
      { region: region.id, peer: peer.id },
      'this peer was the only voter of its region: what it held is in the directory that the repair moved aside, and nowhere else',
    );
  }

  restore(message: Message & { readonly snapshot: Snapshot }): void {
    const { term, from } = message;
    const group = this.#parts.startGroup(this.replica, {
      ...NOTHING,
      hardState: { term, vote: from, commit: 0 },
    });
    group.step(message);
    // A core that does not take it in knows nothing: it would vote for anybody.
    if (!group.stopped && group.raft.lastIndex !== message.snapshot.index) {
      this.failed(new Error(`the snapshot at ${message.snapshot.index} was not taken in`));
    }
  }

  async #askTerm(peerId: number): Promise<void> {
    const { system, nodeOf, logger, tickInterval, electionTicks } = this.#parts;
    const region = this.#region;
    const storeId = region.peers.find(({ id }) => id === peerId)?.storeId;
    const node = storeId === undefined ? undefined : nodeOf(storeId);
    if (node === undefined) return;
    const question = { type: 'store.peerTerm', regionId: region.id, peerId } as const;
    try {
      const timeout = tickInterval * electionTicks;
      const reply = (await system
        .ref(`${node}/store`)
        .ask(question, { timeout })) as troupepb.PeerTermResponse;
      const { known, term, recovering } = reply;
      if (known && !this.#over) this.#actor.tell({ type: 'termAnswered', peer: peerId, term, recovering });
    } catch (error) {
      logger.debug({ err: error, region: region.id, peer: peerId }, 'a term was not told');
    }
  }

  /** The members may have changed since the scheduler was asked. */
  async #askVoters(): Promise<void> {
    const { scheduler, logger } = this.#parts;
    const { region } = this.replica;
    try {
      const reply = await scheduler.getRegionById(region.id);
      if (this.#over || this.#taken) return;
      const now = reply.region;
      if (now === undefined || !now.peers.some(({ id }) => id === this.replica.peerId)) {
        this.stop();
        this.#parts.unwanted(this.replica);
        return;
      }
      const voters = votersOf(now);
      const changed = voters.join(' ') !== votersOf(this.#region).join(' ');
      this.#region = now;
      if (changed) this.#actor.tell({ type: 'votersLearnt', voters });
    } catch (error) {
      logger.debug({ err: error, region: region.id }, "a region's members could not be asked for");
    }
  }

  #tick(): void {
    const { clock, tickInterval } = this.#parts;
    this.#ticker = clock.setTimeout(() => {
      if (this.#over) return;
      this.#actor.tell({ type: 'tick' });
      this.#tick();
    }, tickInterval);
  }

  #context(): Context | undefined {
    const snapshot = this.#parts.system.actor(this.#path)?.snapshot;
    const { value, context } = (snapshot ?? {}) as { readonly value?: unknown; readonly context?: Context };
    return value === 'awaiting snapshot' ? context : undefined;
  }
}

/** All members but learners; in joint membership those of both halves. */
function votersOf(region: metapb.Region): number[] {
  return region.peers.filter(({ role }) => role !== metapb.PeerRole.Learner).map(({ id }) => id);
}
