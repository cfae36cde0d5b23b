import { type ActorRefFrom, createActor } from 'xstate';
import { type StoreDecision, type StoreState, storeMachine } from '../../machines/store.machine.js';
import { metapb } from '../../storage/proto/index.js';
import type { pdpb } from '../proto/index.js';

/** Milliseconds of silence after which a store counts as disconnected: five heartbeats. */
export const DISCONNECTED_AFTER_MS = 5_000;

interface Watched {
  readonly actor: ActorRefFrom<typeof storeMachine>;
  stats: pdpb.StoreStats | undefined;
  heardAt: number;
}

/**
 * What the leader sees of the stores: one chart each, fed with their heartbeats and with the clock. Nothing of it is
 * replicated; a new leader begins with `disconnected` and learns.
 */
export class StoreWatch {
  readonly #stores = new Map<number, Watched>();

  /** Follows the replicated record. @param now milliseconds on the scheduler's clock */
  follow(store: metapb.Store, now: number): void {
    if (this.#stores.has(store.id)) return;
    const input = {
      now,
      disconnectedAfter: DISCONNECTED_AFTER_MS,
      decision: decisionOf(store),
    };
    const actor = createActor(storeMachine, { input }).start();
    this.#stores.set(store.id, { actor, stats: undefined, heardAt: Number.NEGATIVE_INFINITY });
  }

  heartbeat(stats: pdpb.StoreStats, now: number): void {
    const watched = this.#stores.get(stats.storeId);
    if (watched === undefined) return;
    watched.stats = stats;
    this.heard(stats.storeId, now);
  }

  /** Each store's chart, by its id. */
  *actors(): IterableIterator<readonly [number, ActorRefFrom<typeof storeMachine>]> {
    for (const [id, { actor }] of this.#stores) yield [id, actor];
  }

  /** The store spoke. */
  heard(storeId: number, now: number): void {
    const watched = this.#stores.get(storeId);
    if (watched === undefined) return;
    watched.heardAt = now;
    watched.actor.send({ type: 'heartbeat', now });
  }

  /** @param downAfter milliseconds of silence after which a store's peers are to be replaced */
  tick(now: number, downAfter: number): void {
    for (const { actor } of this.#stores.values()) actor.send({ type: 'clock', now, downAfter });
  }

  /** Takes in what was decided of a store. */
  decided(store: metapb.Store, now: number): void {
    const actor = this.#stores.get(store.id)?.actor;
    switch (decisionOf(store)) {
      case 'offline':
        return actor?.send({ type: 'takenOffline' });
      case 'tombstone':
        return actor?.send({ type: 'buried' });
      case 'serving':
        return actor?.send({ type: 'broughtBack', now });
    }
  }

  stateOf(storeId: number): StoreState {
    const value = this.#stores.get(storeId)?.actor.getSnapshot().value ?? 'disconnected';
    return value === 'known' ? 'disconnected' : value;
  }

  statsOf(storeId: number): pdpb.StoreStats | undefined {
    return this.#stores.get(storeId)?.stats;
  }

  /** Milliseconds since the store was heard of; infinite when it never was. */
  silence(storeId: number, now: number): number {
    return now - (this.#stores.get(storeId)?.heardAt ?? Number.NEGATIVE_INFINITY);
  }

  clear(): void {
    for (const { actor } of this.#stores.values()) actor.stop();
    this.#stores.clear();
  }
}

function decisionOf(store: metapb.Store): StoreDecision {
  if (store.state === metapb.StoreState.Offline) return 'offline';
  return store.state === metapb.StoreState.Tombstone ? 'tombstone' : 'serving';
}
