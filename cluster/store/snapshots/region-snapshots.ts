import type { ActorRef, BulkChannel, TimerHandle } from '../../../actors/index.js';
import { type Message, type Snapshot, type SnapshotDesk, snapshotsMachine } from '../../../machines/index.js';
import type { SnapshotIdentity, WriteBatch } from '../../../storage/index.js';
import type { metapb, RaftEvent } from '../../../storage/proto/index.js';
import { snapshotpb } from '../../proto/index.js';
import type { GroupSnapshots } from '../../raft/snapshots.js';
import type { SnapshotEvent, SnapshotOffer, TransferId } from '../../snapshot-protocol.js';
import { decodeChunkFrame } from './chunk-frame.js';
import { IncomingSnapshot } from './incoming.js';
import {
  DEFAULT_SNAPSHOT_LIMITS,
  noCounters,
  type RegionSnapshotsOptions,
  SNAPSHOT_TIMING,
  type SnapshotCounters,
  type SnapshotLimits,
  type SnapshotTraffic,
  type TransferStatus,
} from './options.js';
import { OutgoingSnapshot, type SnapshotGroup } from './outgoing.js';
import { type HeldView, HeldViews } from './prepared.js';
import { ReceivedFiles, transferKey } from './received-files.js';

/** A transfer's message as it arrives: with the node that sent it. */
type Received<E> = E & { readonly sender?: string };

/** A view that waits for the core's message, for a time. */
interface Prepared {
  readonly held: HeldView;
  readonly expiry: TimerHandle;
}

const NO_KEY = new Uint8Array(0);

/**
 * Makes, carries and installs the snapshots of a store's regions. What a transfer does is in the machines
 * `snapshotSender` and `snapshotReceiver`; here is which transfers there are, and where messages and chunks go.
 */
export class RegionSnapshots implements GroupSnapshots, SnapshotDesk {
  readonly counters: SnapshotCounters = noCounters();
  readonly #options: RegionSnapshotsOptions;
  readonly #limits: SnapshotLimits;
  readonly #views: HeldViews;
  readonly #files: ReceivedFiles;
  /** By group and peer. */
  readonly #prepared = new Map<string, Prepared>();
  readonly #outgoing = new Map<string, OutgoingSnapshot>();
  readonly #incoming = new Map<string, IncomingSnapshot>();
  #number = 0;
  #bulk: BulkChannel | undefined;
  #actor: ActorRef | undefined;
  #removeListener: () => void = () => {};
  #closing: Promise<void> | undefined;

  constructor(options: RegionSnapshotsOptions) {
    this.#options = options;
    this.#limits = { ...DEFAULT_SNAPSHOT_LIMITS, ...options.limits };
    this.#views = new HeldViews(options.engine, this.#limits.sends);
    this.#files = new ReceivedFiles({ ...options, limits: this.#limits, timing: SNAPSHOT_TIMING });
  }

  /**
   * Removes files that are left from earlier, and begins to listen. Messages are heard from now on.
   * @throws ActorSystemError `unavailable`, EngineFailedError
   */
  async start(): Promise<void> {
    const { system } = this.#options;
    await this.#files.start();
    this.#bulk = await system.openBulk((chunk) => this.#chunkArrived(chunk));
    this.#actor = system.spawn(snapshotsMachine, { path: 'snapshots', input: { desk: this } });
    this.#removeListener = system.onStatus(({ type }) => {
      if (type === 'disconnected') this.#actor?.tell({ type: 'connectionLost' });
      if (type === 'reconnected') this.#actor?.tell({ type: 'connectionBack' });
    });
  }

  /**
   * Brings in what a crash interrupted, before the peers start.
   * @throws StorageCorruptionError when the snapshot is missing or damaged.
   */
  finishInstallations(): Promise<void> {
    return this.#files.finishInstallations();
  }

  /** Ends every transfer; what was received stays for the next start. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#removeListener();
    for (const key of [...this.#prepared.keys()]) this.#takePrepared(key)?.release();
    await Promise.all([...this.#outgoing.values()].map((outgoing) => outgoing.close()));
    await Promise.all([...this.#incoming.values()].map((incoming) => incoming.close()));
    this.#outgoing.clear();
    this.#incoming.clear();
    this.#files.close();
    this.#actor?.stop();
    await this.#bulk?.close();
  }

  /** The transfers under way, for people. */
  status(): TransferStatus[] {
    const states = new Map(
      this.#options.system.actors().map(({ path, snapshot }) => [path, stateOf(snapshot)]),
    );
    const all = [...this.#outgoing.values(), ...this.#incoming.values()];
    return all.map((transfer) => transfer.status(states.get(transfer.path) ?? ''));
  }

  /** What is held at this moment: all zero when nothing is under way. */
  get held(): { readonly views: number; readonly transfers: number; readonly verified: number } {
    return {
      views: this.#views.held,
      transfers: this.#outgoing.size + this.#incoming.size,
      verified: this.#files.verifiedCount,
    };
  }

  /** How many come and go, as the scheduler is told. */
  get traffic(): SnapshotTraffic {
    const { installingCount: applying } = this.#files;
    return { sending: this.#outgoing.size, receiving: this.#incoming.size, applying };
  }

  /** The peer was removed: no snapshot of its region is received for it or waits for it any more. */
  forget(region: number, peer: number): void {
    for (const incoming of this.#incoming.values()) {
      const { identity } = incoming;
      if (identity.region === region && identity.peer === peer) incoming.cancel('stale');
    }
    this.#files.forget(region, peer);
  }

  // What the Raft host asks for.

  async prepare(group: SnapshotGroup, peer: number): Promise<Snapshot | undefined> {
    if (this.#closing !== undefined || this.#bulk === undefined) return undefined;
    const key = preparedKey(group.id, peer);
    this.#takePrepared(key)?.release();
    // The core wants another one: it no longer waits for this.
    for (const outgoing of this.#outgoing.values()) {
      if (outgoing.region === group.id && outgoing.peer.id === peer) {
        outgoing.cancel('the core wants a newer snapshot');
        return undefined;
      }
    }
    const held = await this.#views.take(group.id, peer);
    if (held === undefined) return undefined;
    if (this.#closing !== undefined) {
      held.release();
      return undefined;
    }
    this.#takePrepared(key)?.release();
    const release = () => this.#takePrepared(key)?.release();
    const expiry = this.#options.clock.setTimeout(release, SNAPSHOT_TIMING.prepared);
    this.#prepared.set(key, { held, expiry });
    return held.snapshot;
  }

  send(group: SnapshotGroup, message: Message): void {
    const outgoing = this.#closing === undefined ? this.#makeOutgoing(group, message) : undefined;
    if (outgoing !== undefined) {
      this.#outgoing.set(transferKey(outgoing.transfer), outgoing);
      return;
    }
    // Never on the core's own stack.
    this.#options.clock.immediate(() => group.reportSnapshot(message.to, false));
  }

  installing(group: SnapshotGroup, snapshot: Snapshot, batch: WriteBatch): void {
    this.#files.installing(group.id, group.peerId, snapshot, batch);
  }

  async install(group: SnapshotGroup, snapshot: Snapshot): Promise<void> {
    await this.#files.install(group.id, group.peerId, snapshot);
    this.counters.installed++;
  }

  // The desk's actions.

  offered(received: unknown): void {
    const event = received as Received<SnapshotOffer>;
    const { sender } = event;
    if (sender === undefined || this.#closing !== undefined) return;
    const known = this.#incoming.get(transferKey(event.transfer));
    if (known !== undefined) {
      if (known.node === sender) known.take(event);
      return;
    }
    const { regionId: region, toPeer, message } = event.raft;
    const { index = 0, term = 0 } = message.snapshot ?? {};
    const identity: SnapshotIdentity = { region, peer: toPeer.id, index, term };
    this.#files.dropOutdated((id) => this.#options.regionOf(id));
    const { Outcome, Reason } = snapshotpb;
    if (this.#files.delivered(event.transfer)) {
      this.#result(sender, event.transfer, Outcome.Delivered);
    } else if (this.#files.isInstalling(identity)) {
      this.#busy(sender, event);
    } else if (this.#files.find(identity) !== undefined) {
      // Here already, and not taken in: perhaps with this message it will be.
      this.#files.remember(event.transfer);
      this.#options.deliver(event.raft);
      this.#result(sender, event.transfer, Outcome.Delivered);
    } else if (this.#supersedes(event, identity) === 'older') {
      this.#result(sender, event.transfer, Outcome.Refused, Reason.Stale);
    } else if (this.#isFull(identity)) {
      this.#busy(sender, event);
    } else {
      const incoming = new IncomingSnapshot(event, sender, identity, {
        ...this.#options,
        limits: this.#limits,
        timing: SNAPSHOT_TIMING,
        counters: this.counters,
        files: this.#files,
        expected: (one) => this.#expected(one),
        over: (one) => this.#incoming.delete(transferKey(one.transfer)),
      });
      this.#incoming.set(transferKey(event.transfer), incoming);
    }
  }

  route(received: unknown): void {
    const event = received as Received<Exclude<SnapshotEvent, SnapshotOffer>>;
    const { sender } = event;
    const key = transferKey(event.transfer);
    if (event.type === 'snapshot.finish' || event.type === 'snapshot.cancel') {
      const incoming = this.#incoming.get(key);
      if (incoming?.node === sender) incoming?.take(event);
      else if (incoming === undefined && event.type === 'snapshot.finish' && sender !== undefined) {
        const { Outcome } = snapshotpb;
        const here = this.#files.delivered(event.transfer);
        this.#result(sender, event.transfer, here ? Outcome.Delivered : Outcome.NotHere);
      }
      return;
    }
    const outgoing = this.#outgoing.get(key);
    if (outgoing?.node === sender) outgoing?.take(event);
  }

  connectionLost(): void {
    for (const outgoing of this.#outgoing.values()) outgoing.connection(true);
  }

  connectionBack(): void {
    for (const outgoing of this.#outgoing.values()) outgoing.connection(false);
  }

  #chunkArrived(bytes: Uint8Array): void {
    const frame = decodeChunkFrame(bytes);
    if (frame === undefined) {
      this.counters.garbage++;
      return;
    }
    const incoming = this.#incoming.get(transferKey(frame.transfer));
    if (incoming === undefined) this.counters.chunksDropped++;
    else incoming.arrived(frame.sequence, frame.chunk);
  }

  #makeOutgoing(group: SnapshotGroup, message: Message): OutgoingSnapshot | undefined {
    const { system, storeId, nodeOf } = this.#options;
    const { index, term } = message.snapshot ?? {};
    const held = this.#takePrepared(preparedKey(group.id, message.to));
    if (held === undefined) return undefined;
    const { region, snapshot } = held;
    const fromPeer = region.peers.find(({ id }) => id === group.peerId);
    const toPeer = region.peers.find(({ id }) => id === message.to);
    const node = toPeer && nodeOf(toPeer.storeId);
    const matches = index === snapshot.index && term === snapshot.term;
    if (!matches || fromPeer === undefined || toPeer === undefined || node === undefined) {
      held.release();
      return undefined;
    }
    const raft: RaftEvent = {
      type: 'raft',
      regionId: region.id,
      fromPeer,
      toPeer,
      message,
      regionEpoch: region.regionEpoch ?? { confVer: 0, version: 0 },
      startKey: NO_KEY,
      endKey: NO_KEY,
    };
    const transfer: TransferId = { storeId, incarnation: system.incarnation, number: ++this.#number };
    return new OutgoingSnapshot(
      { transfer, group, held, raft, node },
      {
        ...this.#options,
        timing: SNAPSHOT_TIMING,
        counters: this.counters,
        bulk: () => this.#bulk,
        over: (one) => this.#outgoing.delete(transferKey(one.transfer)),
      },
    );
  }

  #takePrepared(key: string): HeldView | undefined {
    const prepared = this.#prepared.get(key);
    if (prepared === undefined) return undefined;
    this.#prepared.delete(key);
    this.#options.clock.clearTimeout(prepared.expiry);
    return prepared.held;
  }

  /** Compares an offer with what is on its way for the same peer; an older one of that gives way. */
  #supersedes({ raft }: SnapshotOffer, { region, peer, index }: SnapshotIdentity): 'older' | undefined {
    for (const other of this.#incoming.values()) {
      if (other.identity.region !== region || other.identity.peer !== peer) continue;
      const { term } = raft.message;
      if (term < other.term || (term === other.term && index < other.identity.index)) return 'older';
      other.cancel('stale');
    }
    return undefined;
  }

  /** One transfer for a peer at a time, and not more than the limits allow. */
  #isFull({ region, peer }: SnapshotIdentity): boolean {
    for (const { identity } of this.#incoming.values()) {
      if (identity.region === region && identity.peer === peer) return true;
    }
    return this.#incoming.size >= this.#limits.receives || this.#files.verifiedCount >= this.#limits.verified;
  }

  /** Regions that may be brought in before it: of two at a time that overlap, the first one goes on. */
  *#expected(before: IncomingSnapshot): Iterable<metapb.Region> {
    for (const incoming of this.#incoming.values()) {
      if (incoming === before) break;
      yield incoming.region;
    }
    for (const { region } of this.#files.verified) yield region;
  }

  #busy(node: string, { transfer, attempt }: SnapshotOffer): void {
    this.#options.system
      .ref(`${node}/snapshots`)
      .tell({ type: 'snapshot.answer', transfer, attempt, busy: true, next: 0, limit: 0, ask: 0 });
  }

  #result(
    node: string,
    transfer: TransferId,
    outcome: snapshotpb.Outcome,
    reason: snapshotpb.Reason = snapshotpb.Reason.NoReason,
  ): void {
    this.#options.system
      .ref(`${node}/snapshots`)
      .tell({ type: 'snapshot.result', transfer, outcome, reason });
  }
}

function preparedKey(group: number, peer: number): string {
  return `${group} ${peer}`;
}

/** A machine's state as a path. */
function stateOf(snapshot: unknown): string {
  const path: string[] = [];
  let value = (snapshot as { readonly value?: unknown } | undefined)?.value;
  while (typeof value === 'object' && value !== null) {
    const [name, inner] = Object.entries(value)[0] ?? ['', undefined];
    path.push(name);
    value = inner;
  }
  if (typeof value === 'string') path.push(value);
  return path.join('.');
}
