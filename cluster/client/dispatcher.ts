import { type ActorSystem, AskError, type Clock, type TimerHandle } from '../../actors/index.js';
import type { metapb } from '../../storage/proto/index.js';
import { TroupeError } from '../errors.js';
import type { errorpb, pdpb, troupepb } from '../proto/index.js';
import { peerPath } from '../protocol.js';
import { backoffMs } from './backoff.js';
import type { Call, CallOwner } from './call.js';
import { type CachedRegion, RegionCache, type RegionQueue, StoreLink } from './region-cache.js';
import { judge, undetermined } from './region-errors.js';

/** Where regions and stores are looked up: the scheduler. */
export interface RegionSource {
  /** Regions in order, from the one that holds `startKey` (a stored key) on. */
  scanRegions(startKey: Uint8Array, limit: number, timeout: number): Promise<readonly pdpb.Region[]>;
  getAllStores(timeout: number): Promise<readonly metapb.Store[]>;
}

export interface DispatcherOptions {
  readonly system: ActorSystem;
  readonly source: RegionSource;
  readonly clock: Clock;
  readonly random: () => number;
  /** First byte of the stored keys that these calls are about. */
  readonly space: number;
  /** The largest replicated command, in bytes. */
  readonly maxEntryBytes: number;
}

/** Requests in one batch at most. */
const MAX_BATCH_CALLS = 1024;
/** Bytes of keys in one batch of reads at most. */
const MAX_READ_BATCH_BYTES = 256 * 1024;
/** What a command needs beside its requests. */
export const ENTRY_OVERHEAD_BYTES = 1024;
/** Batches of one kind under way to one region; what comes meanwhile makes the next batch larger. */
const MAX_BATCHES_IN_FLIGHT = 8;
/** Calls under way of one client; more are refused, so that a caller who never waits meets a bound. */
const MAX_CALLS = 1 << 18;
/** Longest time between two looks for calls and batches that are late, in milliseconds. */
const SWEEP_MS = 100;
/** A store that keeps a batch for so long is not given new ones while another peer may serve. */
const SUSPECT_AFTER_MS = 1_000;
const SUSPECT_FOR_MS = 3_000;
/** How long a read waits for its first try; each further try has twice the time. */
const READ_PATIENCE_MS = 1_000;
/** Tries that may follow each other without a wait. */
const HASTY_TRIES = 2;
/** Regions learned by one look-up. */
const LOOKUP_REGIONS = 128;
const LOOKUP_TIMEOUT_MS = 3_000;

/** Requests of one turn to one region, sent as one message. */
class Batch {
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
export class Dispatcher implements CallOwner {
  readonly #options: DispatcherOptions;
  readonly #clock: Clock;
  readonly #cache = new RegionCache((region) => this.#evicted(region));
  readonly #stores = new Map<number, StoreLink>();
  readonly #dirty = new Set<CachedRegion>();
  readonly #batches = new Set<Batch>();
  readonly #waits = new Set<TimerHandle>();
  readonly #removeHook: () => void;
  /** Calls whose region is not known. */
  #homeless: Call[] = [];
  #lookingUp = false;
  #first: Call | undefined;
  #count = 0;
  #sweeper: TimerHandle | undefined;
  #sweepAt = 0;
  #turnRequested = false;
  #maxWriteBytes: number;
  #closed = false;

  constructor(options: DispatcherOptions) {
    this.#options = options;
    this.#clock = options.clock;
    this.#maxWriteBytes = options.maxEntryBytes - ENTRY_OVERHEAD_BYTES;
    this.#removeHook = options.system.onTurnEnd(0, () => this.#flush());
  }

  /** Sends `call` with the others of this turn. It is settled exactly once, whatever happens. */
  submit(call: Call): void {
    if (this.#closed) {
      call.settled = true;
      call.fail(closedError(false));
      return;
    }
    if (this.#count >= MAX_CALLS) {
      call.settled = true;
      call.fail(
        new TroupeError('unavailable', `${MAX_CALLS} requests are under way: wait for some of them.`),
      );
      return;
    }
    if (call.signal !== undefined) {
      if (call.signal.aborted) {
        call.settled = true;
        call.fail(call.signal.reason);
        return;
      }
      call.signal.addEventListener('abort', call);
    }
    this.#link(call);
    if (call.deadline < this.#sweepAt || this.#sweeper === undefined) this.#sweepSoon(call.deadline);
    this.#route(call);
  }

  abort(call: Call): void {
    if (call.settled) return;
    const reason: unknown = call.signal?.reason;
    this.#fail(
      call,
      call.write && call.sent ? undetermined('its signal was aborted before the reply', reason) : reason,
    );
  }

  /** Takes a call out whose result nobody wants any more; its promise stays as it is. */
  drop(call: Call): void {
    if (!call.settled) this.#unlink(call);
  }

  /** Rejects what is under way. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#removeHook();
    for (const wait of this.#waits) this.#clock.clearTimeout(wait);
    this.#waits.clear();
    if (this.#sweeper !== undefined) this.#clock.clearTimeout(this.#sweeper);
    for (let call = this.#first; call !== undefined; call = this.#first) {
      this.#fail(call, closedError(call.write && call.sent));
    }
    this.#homeless = [];
    this.#cache.clear();
    this.#batches.clear();
  }

  // The list of calls under way.

  #link(call: Call): void {
    call.next = this.#first;
    if (this.#first !== undefined) this.#first.previous = call;
    this.#first = call;
    this.#count++;
  }

  #unlink(call: Call): void {
    call.settled = true;
    if (call.previous === undefined) this.#first = call.next;
    else call.previous.next = call.next;
    if (call.next !== undefined) call.next.previous = call.previous;
    call.previous = undefined;
    call.next = undefined;
    this.#count--;
    if (call.signal !== undefined) call.signal.removeEventListener('abort', call);
  }

  #fail(call: Call, reason: unknown): void {
    this.#unlink(call);
    call.fail(reason);
  }

  // From the call to its region's queue.

  #route(call: Call): void {
    const region = this.#cache.locate(this.#options.space, call.key);
    if (region === undefined) {
      this.#homeless.push(call);
      this.#lookUp();
      return;
    }
    (call.write ? region.writes : region.reads).calls.push(call);
    this.#touch(region);
  }

  #touch(region: CachedRegion): void {
    this.#dirty.add(region);
    if (this.#turnRequested) return;
    this.#turnRequested = true;
    this.#options.system.requestTurn();
  }

  #evicted(region: CachedRegion): void {
    if (region.reads.calls.length > 0 || region.writes.calls.length > 0) this.#touch(region);
  }

  /** At the end of a turn: everything asked in it leaves. */
  #flush(): void {
    this.#turnRequested = false;
    if (this.#dirty.size === 0) return;
    const now = this.#clock.now();
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
      const store = peer === undefined ? undefined : this.#stores.get(peer.storeId);
      if (peer === undefined || store === undefined) {
        this.#cache.remove(queue.region);
        return;
      }
      const calls = this.#take(queue);
      if (calls.length > 0) this.#send(new Batch(queue, peer, store, calls, now));
    }
  }

  /** The calls of the next batch, within its limits of count and bytes. */
  #take(queue: RegionQueue): Call[] {
    const limit = queue.write ? this.#maxWriteBytes : MAX_READ_BATCH_BYTES;
    const waiting = queue.calls;
    const taken: Call[] = [];
    let bytes = 0;
    let next = 0;
    for (; next < waiting.length && taken.length < MAX_BATCH_CALLS; next++) {
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
    if (!queue.write) timeout = Math.min(timeout, READ_PATIENCE_MS * 2 ** Math.min(tries, 10));
    queue.inFlight++;
    this.#batches.add(batch);
    const event = { type: queue.write ? 'write' : 'read', context: region.context, requests };
    region.ref ??= this.#options.system.ref(`${store.node}/${peerPath(region.id, batch.peer.id)}`);
    region.ref.ask(event, { timeout }).then(
      (reply) => this.#answered(batch, reply as troupepb.RegionResponses),
      (error: unknown) => this.#unanswered(batch, error),
    );
  }

  #landed(batch: Batch): void {
    this.#batches.delete(batch);
    batch.queue.inFlight--;
    if (batch.queue.calls.length > 0 && !this.#closed) this.#touch(batch.queue.region);
  }

  #answered(batch: Batch, reply: troupepb.RegionResponses): void {
    this.#landed(batch);
    batch.store.suspectUntil = 0;
    if (reply.regionError !== undefined) {
      this.#refused(batch, reply.regionError);
      return;
    }
    const { calls, queue } = batch;
    const { responses } = reply;
    queue.region.misses = 0;
    for (let i = 0; i < calls.length; i++) {
      const call = calls[i];
      if (call === undefined || call.settled) continue;
      const response = responses[i];
      if (response !== undefined) {
        this.#unlink(call);
        call.succeed(response);
      } else if (queue.write) {
        this.#fail(call, undetermined('the reply does not mention it'));
      } else {
        // A reply holds as many results as one message may carry; the rest is asked again.
        call.sent = false;
        this.#route(call);
      }
    }
  }

  #unanswered(batch: Batch, error: unknown): void {
    this.#landed(batch);
    if (this.#closed) return;
    const { region, write } = batch.queue;
    const ask = error instanceof AskError ? error : undefined;
    if (ask?.code === 'no-such-actor') this.#missed(batch);
    else if (ask?.code !== 'overloaded') region.aimPast(batch.peer, this.#usable);
    const why = error instanceof Error ? error.message : String(error);
    if (!write || ask?.handled === 'no') {
      const silent = ask?.code === 'timeout';
      const sentence = silent
        ? `${batch.store.node} did not answer in time.`
        : `${batch.store.node} cannot be asked: ${why}.`;
      this.#retry(batch, 'later', new TroupeError(silent ? 'timeout' : 'unavailable', sentence));
      return;
    }
    for (const call of batch.calls) {
      if (!call.settled) this.#fail(call, undetermined(`no reply came (${why})`, error));
    }
  }

  #refused(batch: Batch, error: errorpb.Error): void {
    const verdict = judge(error);
    this.#learn(batch, error);
    const trouble = new TroupeError('unavailable', error.message, { cause: error });
    if (verdict === 'undetermined' && batch.queue.write) {
      for (const call of batch.calls) {
        if (!call.settled) this.#fail(call, undetermined(error.message || 'its outcome was lost', error));
      }
    } else if (verdict === 'smaller') {
      this.#tooLarge(batch, error);
    } else {
      const wait = error.serverIsBusy?.backoffMs ?? 0;
      this.#retry(batch, verdict === 'again' ? 'again' : 'later', trouble, wait);
    }
  }

  #tooLarge(batch: Batch, error: errorpb.Error): void {
    const { entrySize = 0, maxEntryBytes = 0 } = error.raftEntryTooLarge ?? {};
    const only = batch.calls.length === 1 ? batch.calls[0] : undefined;
    if (only !== undefined) {
      const sentence = `The write takes ${entrySize} bytes; the cluster takes ${maxEntryBytes} bytes at most: store it in parts.`;
      if (!only.settled) this.#fail(only, new TroupeError('invalid-argument', sentence));
      return;
    }
    this.#maxWriteBytes = Math.max(1, Math.floor(Math.min(this.#maxWriteBytes, entrySize || Infinity) / 2));
    this.#retry(batch, 'again', new TroupeError('unavailable', error.message));
  }

  /** What the error tells about regions and leaders. */
  #learn(batch: Batch, error: errorpb.Error): void {
    const { region } = batch.queue;
    if (error.notLeader !== undefined) {
      const { leader } = error.notLeader;
      if (leader === undefined) region.aimPast(batch.peer, this.#usable);
      else if (!region.aimAt(leader)) this.#cache.remove(region);
      else if (!this.#usable(leader.storeId)) region.aimPast(leader, this.#usable);
    } else if (error.epochNotMatch !== undefined) {
      for (const current of error.epochNotMatch.currentRegions) {
        const here = current.peers.find((peer) => peer.storeId === batch.peer.storeId);
        this.#cache.insert(current, here);
      }
      if (error.epochNotMatch.currentRegions.length === 0) this.#cache.remove(region);
    } else if (error.regionNotFound !== undefined || error.regionNotInitialized !== undefined) {
      this.#missed(batch);
    } else if (error.storeNotMatch !== undefined) {
      this.#stores.delete(batch.peer.storeId);
      this.#cache.remove(region);
    } else if (error.keyNotInRegion !== undefined || error.mismatchPeerId !== undefined) {
      this.#cache.remove(region);
    }
  }

  /** The region is not there: it moved, or this peer has not been made yet. When nobody has it, ask the scheduler. */
  #missed(batch: Batch): void {
    const { region } = batch.queue;
    if (++region.misses >= region.peers.length) this.#cache.remove(region);
    else region.aimPast(batch.peer, this.#usable);
  }

  readonly #usable = (storeId: number): boolean => {
    const store = this.#stores.get(storeId);
    return store !== undefined && store.suspectUntil <= this.#clock.now();
  };

  /** Nothing was done: sends the batch's calls again, each by what is known then. */
  #retry(batch: Batch, when: 'again' | 'later', trouble: TroupeError, leastWait = 0): void {
    const calls: Call[] = [];
    let tries = 0;
    for (const call of batch.calls) {
      if (call.settled) continue;
      call.sent = false;
      call.trouble = trouble;
      call.tries++;
      if (call.tries > tries) tries = call.tries;
      calls.push(call);
    }
    const hasty = when === 'again' && tries <= HASTY_TRIES;
    this.#after(hasty ? 0 : Math.max(leastWait, backoffMs(tries, this.#options.random)), calls);
  }

  #after(wait: number, calls: readonly Call[]): void {
    if (calls.length === 0 || this.#closed) return;
    if (wait === 0) {
      for (const call of calls) this.#route(call);
      return;
    }
    const timer = this.#clock.setTimeout(() => {
      this.#waits.delete(timer);
      for (const call of calls) if (!call.settled) this.#route(call);
    }, wait);
    this.#waits.add(timer);
  }

  // Looking regions up.

  /** One look-up at a time; it brings the neighbours along. */
  #lookUp(): void {
    if (this.#lookingUp || this.#closed) return;
    this.#homeless = this.#homeless.filter((call) => !call.settled);
    const first = this.#homeless[0];
    if (first === undefined) return;
    this.#lookingUp = true;
    this.#learnRegions(first).then(
      () => this.#lookedUp(undefined),
      (error: unknown) => this.#lookedUp(error),
    );
  }

  async #learnRegions(call: Call): Promise<void> {
    const { source, space } = this.#options;
    const stored = Buffer.concat([Uint8Array.of(space), call.key]);
    const regions = await source.scanRegions(stored, LOOKUP_REGIONS, LOOKUP_TIMEOUT_MS);
    const strangers = regions.some(({ region }) =>
      region?.peers.some((peer) => !this.#stores.has(peer.storeId)),
    );
    if (strangers) {
      for (const { id, address } of await source.getAllStores(LOOKUP_TIMEOUT_MS)) {
        if (this.#stores.get(id)?.node !== address) this.#stores.set(id, new StoreLink(id, address));
      }
    }
    if (this.#closed) return;
    for (const { region, leader } of regions) {
      if (region?.peers.every((peer) => this.#stores.has(peer.storeId))) this.#cache.insert(region, leader);
    }
  }

  #lookedUp(error: unknown): void {
    this.#lookingUp = false;
    if (this.#closed) return;
    const calls = this.#homeless;
    this.#homeless = [];
    const lost: Call[] = [];
    let tries = 0;
    for (const call of calls) {
      if (call.settled) continue;
      if (error === undefined && this.#cache.locate(this.#options.space, call.key) !== undefined) {
        this.#route(call);
        continue;
      }
      call.trouble = lookupTrouble(error);
      tries = Math.max(tries, ++call.tries);
      lost.push(call);
    }
    this.#after(backoffMs(Math.max(tries, 1), this.#options.random), lost);
  }

  // Looking for what is late.

  #sweepSoon(deadline: number): void {
    if (this.#sweeper !== undefined) this.#clock.clearTimeout(this.#sweeper);
    const now = this.#clock.now();
    this.#sweepAt = Math.min(now + SWEEP_MS, Math.max(deadline, now));
    this.#sweeper = this.#clock.setTimeout(() => this.#sweep(), this.#sweepAt - now);
  }

  #sweep(): void {
    this.#sweeper = undefined;
    const now = this.#clock.now();
    let soonest = Infinity;
    const late: Call[] = [];
    for (let call = this.#first; call !== undefined; call = call.next) {
      if (call.deadline <= now) late.push(call);
      else if (call.deadline < soonest) soonest = call.deadline;
    }
    // One that fails may take others of its group with it.
    for (const call of late) if (!call.settled) this.#fail(call, lateError(call));
    for (const batch of this.#batches) this.#suspectIfLate(batch, now);
    if (this.#first !== undefined) this.#sweepSoon(soonest);
  }

  /** New calls should not follow those that a dead store swallowed. */
  #suspectIfLate(batch: Batch, now: number): void {
    if (batch.suspected || now - batch.sentAt < SUSPECT_AFTER_MS) return;
    batch.suspected = true;
    batch.store.suspectUntil = now + SUSPECT_FOR_MS;
    batch.queue.region.aimPast(batch.peer, this.#usable);
  }
}

function closedError(sent: boolean): TroupeError {
  const fate = sent ? ' The write had been sent: it may or may not have happened.' : '';
  return new TroupeError('closed', `The database was closed by this program.${fate}`);
}

function lateError(call: Call): TroupeError {
  if (call.write && call.sent) return undetermined('no reply came in time');
  const { trouble } = call;
  const code = trouble?.code === 'unavailable' && !call.sent ? 'unavailable' : 'timeout';
  const why = trouble === undefined ? 'no store answered' : trouble.message;
  return new TroupeError(code, `The time for the request ran out: ${why}`, { cause: trouble });
}

function lookupTrouble(error: unknown): TroupeError {
  if (error instanceof TroupeError) return error;
  if (error === undefined)
    return new TroupeError('unavailable', 'the scheduler knows no region for the key yet');
  return new TroupeError('unavailable', `the key's region could not be looked up: ${String(error)}`, {
    cause: error,
  });
}
