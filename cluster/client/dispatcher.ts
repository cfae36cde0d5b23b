import { type ActorSystem, AskError, type Clock, type TimerHandle } from '../../actors/index.js';
import type { metapb } from '../../storage/proto/index.js';
import { TroupeError } from '../errors.js';
import type { errorpb, troupepb } from '../proto/index.js';
import { peerPath } from '../protocol.js';
import { type ClientTracing, NO_TRACING, noteRetry, tracesOf } from '../tracing/client-tracing.js';
import { backoffMs } from './backoff.js';
import type { Call } from './call.js';
import { PendingCalls } from './pending-calls.js';
import type { CachedRegion, RegionQueue } from './region-cache.js';
import { judge, undetermined } from './region-errors.js';
import { RegionFinder, type RegionSource, type StoreLink } from './region-finder.js';

export interface DispatcherOptions {
  readonly system: ActorSystem;
  readonly source: RegionSource;
  readonly clock: Clock;
  readonly random: () => number;
  /** First byte of the stored keys that these calls are about. */
  readonly space: number;
  /** The largest replicated command, in bytes. */
  readonly maxEntryBytes: number;
  /** Absent where its requests are nobody's. */
  readonly tracing?: ClientTracing;
}

/** Requests in one batch at most. */
const MAX_BATCH_CALLS = 1024;
/**
 * So many writes with none under way go in two halves, a turn apart: callers who wait for each other's batch would
 * otherwise leave the network idle while the disk works, and the disk idle while the network does.
 */
const CROWD_CALLS = 32;
/** Bytes of keys in one batch of reads at most. */
const MAX_READ_BATCH_BYTES = 256 * 1024;
/** What a command needs beside its requests. */
export const ENTRY_OVERHEAD_BYTES = 1024;
/** Batches of one kind under way to one region; what comes meanwhile makes the next batch larger. */
const MAX_BATCHES_IN_FLIGHT = 8;
/** A store that keeps a batch for so long is not given new ones while another peer may serve. */
const SUSPECT_AFTER_MS = 1_000;
const SUSPECT_FOR_MS = 3_000;
/** The same for a store whose node was not there: others may still think that it leads. */
const ABSENT_FOR_MS = 300;
/**
 * How long a read waits for its first try, and at most: each further try has twice the time. A refusal is a try too, so after
 * a few of them one message that is lost would otherwise cost all the time that the read has.
 */
const READ_PATIENCE_MS = 1_000;
const MAX_READ_PATIENCE_MS = 8_000;
/** Tries that may follow each other without a wait. */
const HASTY_TRIES = 2;

/** Requests of one turn to one region, sent as one message. */
class Batch {
  /** Its store may be dead: others need not wait for it any more. */
  suspected = false;

  constructor(
    readonly queue: RegionQueue,
    readonly peer: metapb.Peer,
    readonly store: StoreLink,
    readonly calls: readonly Call[],
    readonly sentAt: number,
  ) {}
}

/**
 * Takes calls to their regions: gathers those of one turn, sends them in batches, and settles each exactly once.
 *
 * A write is sent again only after a reply that says it was not proposed; a read whenever that may help.
 */
export class Dispatcher {
  /** Everything under way. */
  readonly calls: PendingCalls;
  /** Where the spans of its calls begin. */
  readonly tracing: ClientTracing;
  readonly #options: DispatcherOptions;
  readonly #finder: RegionFinder;
  /** Regions with something to send at the end of the turn. */
  readonly #dirty = new Set<CachedRegion>();
  readonly #batches = new Set<Batch>();
  /** Of these, suspected ones. */
  #suspects = 0;
  readonly #waits = new Set<TimerHandle>();
  readonly #removeHook: () => void;
  #turnRequested = false;
  #onFlushed: (() => void)[] = [];
  #maxWriteBytes: number;
  #closed = false;

  constructor(options: DispatcherOptions) {
    const { clock, source, space, system } = options;
    this.#options = options;
    this.tracing = options.tracing ?? NO_TRACING;
    this.#maxWriteBytes = options.maxEntryBytes - ENTRY_OVERHEAD_BYTES;
    this.calls = new PendingCalls(clock, (now) => this.#suspectLate(now));
    this.#finder = new RegionFinder({
      source,
      space,
      clock,
      forgotten: (region) => {
        if (region.reads.calls.length > 0 || region.writes.calls.length > 0) this.#touch(region);
      },
      found: (calls) => {
        for (const call of calls) this.#route(call);
      },
      lost: (calls, trouble) => this.#retry(calls, 'later', trouble),
    });
    this.#removeHook = system.onTurnEnd(0, () => this.#flush());
  }

  /** Sends `call` with the others of this turn. It is settled exactly once, whatever happens. */
  submit(call: Call): void {
    if (this.calls.add(call)) this.#route(call);
  }

  /** Resolves when what was submitted in this turn has left, or waits for its region. */
  flushed(): Promise<void> {
    if (!this.#turnRequested) return Promise.resolve();
    return new Promise((resolve) => this.#onFlushed.push(resolve));
  }

  /** Rejects what is under way. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#removeHook();
    for (const wait of this.#waits) this.#options.clock.clearTimeout(wait);
    this.#waits.clear();
    this.calls.close();
    this.#finder.close();
    this.#batches.clear();
    this.#dirty.clear();
    for (const resolve of this.#onFlushed.splice(0)) resolve();
  }

  // From the call to its region's queue.

  #route(call: Call): void {
    const region = this.#finder.locate(call);
    if (region === undefined) {
      this.#finder.lookUp(call);
      return;
    }
    if (call.located(region)) {
      this.calls.settle(call);
      call.succeed({});
      return;
    }
    (call.write ? region.writes : region.reads).calls.push(call);
    this.#touch(region);
  }

  #touch(region: CachedRegion): void {
    this.#dirty.add(region);
    if (this.#turnRequested || this.#closed) return;
    this.#turnRequested = true;
    this.#options.system.requestTurn();
  }

  /** At the end of a turn: everything asked in it leaves. */
  #flush(): void {
    this.#turnRequested = false;
    for (const resolve of this.#onFlushed.splice(0)) resolve();
    if (this.#dirty.size === 0) return;
    this.tracing.look();
    const now = this.#options.clock.now();
    const regions = [...this.#dirty];
    this.#dirty.clear();
    for (const region of regions) {
      if (region.stale) {
        this.#routeAgain(region.reads);
        this.#routeAgain(region.writes);
      } else {
        this.#drain(region.reads, now);
        this.#drain(region.writes, now);
      }
    }
  }

  #routeAgain(queue: RegionQueue): void {
    const calls = queue.calls;
    queue.calls = [];
    for (const call of calls) if (!call.settled) this.#route(call);
  }

  #drain(queue: RegionQueue, now: number): void {
    while (queue.calls.length > 0 && queue.inFlight < MAX_BATCHES_IN_FLIGHT) {
      const peer = queue.region.target;
      const store = peer === undefined ? undefined : this.#finder.store(peer.storeId);
      if (peer === undefined || store === undefined) {
        this.#finder.forget(queue.region);
        return;
      }
      const apart = queue.write && queue.inFlight === 0 && queue.calls.length >= CROWD_CALLS;
      const calls = this.#take(queue, apart ? queue.calls.length / 2 : MAX_BATCH_CALLS);
      if (calls.length > 0) this.#send(new Batch(queue, peer, store, calls, now));
      if (apart) {
        this.#touch(queue.region);
        return;
      }
    }
  }

  /** The calls of the next batch, within its limits of count and bytes. */
  #take(queue: RegionQueue, most: number): Call[] {
    const limit = queue.write ? this.#maxWriteBytes : MAX_READ_BATCH_BYTES;
    const waiting = queue.calls;
    const taken: Call[] = [];
    let bytes = 0;
    let next = 0;
    for (; next < waiting.length && taken.length < Math.min(most, MAX_BATCH_CALLS); next++) {
      const call = waiting[next];
      if (call === undefined || call.settled) continue;
      if (taken.length > 0 && bytes + call.bytes > limit) break;
      bytes += call.bytes;
      taken.push(call);
    }
    queue.calls = next === waiting.length ? [] : waiting.slice(next);
    return taken;
  }

  // From the queue to the store and back.

  #send(batch: Batch): void {
    const { queue, calls, store } = batch;
    const { region } = queue;
    const requests: troupepb.RegionRequest[] = [];
    let deadline = 0;
    let tries = 0;
    for (const call of calls) {
      requests.push(call.request(region));
      call.sent = true;
      if (call.deadline > deadline) deadline = call.deadline;
      if (call.tries > tries) tries = call.tries;
    }
    let timeout = Math.max(1, deadline - batch.sentAt);
    if (!queue.write)
      timeout = Math.min(timeout, READ_PATIENCE_MS * 2 ** Math.min(tries, 10), MAX_READ_PATIENCE_MS);
    queue.inFlight++;
    this.#batches.add(batch);
    store.unwatch ??= this.#watch(store);
    const { node } = store;
    const traces = this.tracing.on
      ? tracesOf(calls, { node, region: region.id, peer: batch.peer })
      : undefined;
    const event = { type: queue.write ? 'write' : 'read', context: region.context, requests, traces };
    region.ref ??= this.#options.system.ref(`${node}/${peerPath(region.id, batch.peer.id)}`);
    region.ref.ask(event, { timeout }).then(
      (reply) => this.#answered(batch, reply as troupepb.RegionResponses),
      (error: unknown) => this.#unanswered(batch, error),
    );
  }

  /** @returns whether anybody still waits for it */
  #landed(batch: Batch): boolean {
    if (this.#closed || !this.#batches.delete(batch)) return false;
    if (batch.suspected) this.#suspects--;
    else batch.queue.inFlight--;
    if (batch.queue.calls.length > 0) this.#touch(batch.queue.region);
    return true;
  }

  #answered(batch: Batch, reply: troupepb.RegionResponses): void {
    if (!this.#landed(batch)) return;
    batch.store.suspectUntil = 0;
    if (reply.regionError !== undefined) {
      this.#refused(batch, reply.regionError);
      return;
    }
    const { calls, queue } = batch;
    const { responses } = reply;
    queue.region.misses = 0;
    if (queue.write && this.#suspects > 0) this.#succeeded(batch);
    if (responses.length === 0 && !queue.write) {
      this.#retry(calls, 'later', new TroupeError('unavailable', `${batch.store.node} sent an empty reply.`));
      return;
    }
    for (let i = 0; i < calls.length; i++) {
      const call = calls[i];
      if (call === undefined || call.settled) continue;
      const response = responses[i];
      if (response !== undefined) {
        this.calls.settle(call);
        call.succeed(response);
      } else if (queue.write) {
        this.calls.fail(call, undetermined('the reply does not mention it'));
      } else {
        // A reply holds as many results as one message may carry; the rest is asked again.
        call.sent = false;
        this.#route(call);
      }
    }
  }

  #unanswered(batch: Batch, error: unknown): void {
    if (!this.#landed(batch)) return;
    const { region, write } = batch.queue;
    const ask = error instanceof AskError ? error : undefined;
    if (ask?.code === 'no-such-actor') this.#missed(batch);
    else if (ask?.code !== 'overloaded') region.aimPast(batch.peer, this.#finder.usable);
    if (ask?.code === 'unreachable') batch.store.suspectUntil = this.#options.clock.now() + ABSENT_FOR_MS;
    const silent = ask?.code === 'timeout';
    const why = error instanceof Error ? error.message : String(error);
    const { node } = batch.store;
    if (write && ask?.handled !== 'no') {
      this.#undetermined(batch, silent ? 'no reply came in time' : `no reply came (${why})`, error);
    } else if (silent) {
      this.#retry(batch.calls, 'later', new TroupeError('timeout', `${node} did not answer in time.`));
    } else if (ask?.code === 'refused') {
      const refusal = new TroupeError('failed', `${node} does not take the request: ${why}.`, {
        cause: error,
      });
      for (const call of batch.calls) if (!call.settled) this.calls.fail(call, refusal);
    } else {
      this.#retry(batch.calls, 'later', new TroupeError('unavailable', `${node} cannot be asked: ${why}.`));
    }
  }

  #refused(batch: Batch, error: errorpb.Error): void {
    this.#learn(batch, error);
    const verdict = judge(error);
    if (verdict === 'undetermined' && batch.queue.write) {
      this.#undetermined(batch, error.message || 'its outcome was lost', error);
    } else if (verdict === 'smaller') {
      this.#tooLarge(batch, error);
    } else {
      const trouble = new TroupeError('unavailable', error.message, { cause: error });
      this.#retry(
        batch.calls,
        verdict === 'again' ? 'again' : 'later',
        trouble,
        error.serverIsBusy?.backoffMs,
      );
    }
  }

  #undetermined(batch: Batch, why: string, cause: unknown): void {
    for (const call of batch.calls) if (!call.settled) this.calls.fail(call, undetermined(why, cause));
  }

  #tooLarge(batch: Batch, error: errorpb.Error): void {
    const { entrySize = 0, maxEntryBytes = 0 } = error.raftEntryTooLarge ?? {};
    const only = batch.calls.length === 1 ? batch.calls[0] : undefined;
    if (only === undefined) {
      const half = Math.floor(batch.calls.reduce((bytes, call) => bytes + call.bytes, 0) / 2);
      const limit = maxEntryBytes > ENTRY_OVERHEAD_BYTES ? maxEntryBytes - ENTRY_OVERHEAD_BYTES : half;
      this.#maxWriteBytes = Math.max(1, Math.min(half, limit));
      this.#retry(batch.calls, 'again', new TroupeError('unavailable', error.message));
    } else if (!only.settled) {
      const sentence = `The write takes ${entrySize} bytes; the cluster takes ${maxEntryBytes} bytes at most: store it in parts.`;
      this.calls.fail(only, new TroupeError('invalid-argument', sentence));
    }
  }

  /** What the error tells about regions and leaders. */
  #learn(batch: Batch, error: errorpb.Error): void {
    const finder = this.#finder;
    const { region } = batch.queue;
    if (error.notLeader !== undefined) {
      const { leader } = error.notLeader;
      if (leader === undefined) region.aimPast(batch.peer, finder.usable);
      else if (finder.store(leader.storeId) === undefined || !region.aimAt(leader)) finder.forget(region);
      else if (!finder.usable(leader.storeId)) region.aimPast(leader, finder.usable);
    } else if (error.epochNotMatch !== undefined) {
      finder.learn(region, error.epochNotMatch.currentRegions, batch.store.id);
    } else if (error.regionNotFound !== undefined || error.regionNotInitialized !== undefined) {
      this.#missed(batch);
    } else if (error.storeNotMatch !== undefined) {
      finder.forgetStore(batch.store.id);
      finder.forget(region);
    } else if (error.keyNotInRegion !== undefined || error.mismatchPeerId !== undefined) {
      finder.forget(region);
    }
  }

  /** The region is not there: it moved, or this peer has not been made yet. When nobody has it, ask the scheduler. */
  #missed(batch: Batch): void {
    const { region } = batch.queue;
    if (++region.misses >= region.peers.length) this.#finder.forget(region);
    else region.aimPast(batch.peer, this.#finder.usable);
  }

  /** Nothing was done: sends the calls again, each by what is known then. */
  #retry(calls: readonly Call[], when: 'again' | 'later', trouble: TroupeError, leastWait = 0): void {
    const again: Call[] = [];
    let tries = 0;
    for (const call of calls) {
      if (call.settled) continue;
      call.sent = false;
      call.trouble = trouble;
      call.tries++;
      if (call.tries > tries) tries = call.tries;
      again.push(call);
    }
    if (this.tracing.on) noteRetry(again, trouble);
    if (when === 'again' && tries <= HASTY_TRIES) for (const call of again) this.#route(call);
    else if (again.length > 0) this.#routeLater(again, leastWait + backoffMs(tries, this.#options.random));
  }

  #routeLater(calls: readonly Call[], wait: number): void {
    const timer = this.#options.clock.setTimeout(() => {
      this.#waits.delete(timer);
      for (const call of calls) if (!call.settled) this.#route(call);
    }, wait);
    this.#waits.add(timer);
  }

  /** What a process had under way when it died it will never answer: there is no reason to wait for the deadline. */
  #watch(store: StoreLink): () => void {
    return this.#options.system.ref(store.node).watch(({ reason }) => {
      store.unwatch = undefined;
      if (reason === 'unreachable') return;
      const gone = new AskError('stopped', `${store.node} has been restarted`, 'maybe');
      for (const batch of [...this.#batches]) if (batch.store === store) this.#unanswered(batch, gone);
    });
  }

  /**
   * A write was acknowledged by this peer, so it leads. What another was given long before and has not answered, it can hardly
   * answer any more: a leader that was deposed and lives says so to all who wait. Its fate is open, now as at the deadline.
   */
  #succeeded({ queue, peer }: Batch): void {
    for (const late of [...this.#batches]) {
      if (!late.suspected || late.queue !== queue || late.peer.id === peer.id) continue;
      if (this.#landed(late))
        this.#undetermined(late, `${late.store.node} lost its region to another`, undefined);
    }
  }

  /** New calls should not follow those that a dead store swallowed. */
  #suspectLate(now: number): void {
    for (const batch of this.#batches) {
      if (batch.suspected || now - batch.sentAt < SUSPECT_AFTER_MS) continue;
      batch.suspected = true;
      this.#suspects++;
      batch.queue.inFlight--;
      if (batch.queue.calls.length > 0) this.#touch(batch.queue.region);
      batch.store.suspectUntil = now + SUSPECT_FOR_MS;
      batch.queue.region.aimPast(batch.peer, this.#finder.usable);
    }
  }
}
