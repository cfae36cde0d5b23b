import type { metapb } from '../../storage/proto/index.js';
import { peerOnStore } from './admin/change-peer.js';
import { epochOf } from './admin/epoch.js';
import type { RegionSurroundings } from './region-state-machine.js';
import type { RegionReplica } from './replica.js';
import type { StoreMeta } from './store-meta.js';

export interface MergeSourcesParts {
  readonly storeId: number;
  readonly meta: StoreMeta;
  readonly replicas: ReadonlyMap<number, RegionReplica>;
  readonly destroy: (replica: RegionReplica, why: string) => void;
  /** Some keys may be free now. */
  readonly roomMade: () => void;
}

/** Peers on this store whose regions are merged into others: which of them a target waits for, and which nobody wants any more. */
export class MergeSources {
  readonly #parts: MergeSourcesParts;
  /** Targets whose log waits for a source's, by source. */
  readonly #awaited = new Map<number, { readonly commit: number; readonly ready: () => void }>();
  /** The peers that are on disk are there. */
  #allStarted = false;
  /** What waits for that. */
  readonly #untilStarted: (() => void)[] = [];

  constructor(parts: MergeSourcesParts) {
    this.#parts = parts;
  }

  allStarted(): void {
    this.#allStarted = true;
    for (const go of this.#untilStarted.splice(0)) go();
  }

  /** A target here waits for it, and will end it. */
  isAwaited(source: number): boolean {
    return this.#awaited.has(source);
  }

  /** For a target whose log has come to the merge. */
  ready({
    source,
    commit,
    entries,
  }: Parameters<RegionSurroundings['sourceReady']>[0]): ReturnType<RegionSurroundings['sourceReady']> {
    const id = source?.id ?? 0;
    const replica = this.#parts.replicas.get(id);
    // A target that starts before its source asks again.
    if (replica === undefined && !this.#allStarted)
      return new Promise((resolve) => this.#untilStarted.push(resolve));
    const { raftGroup: group } = replica ?? {};
    if (replica === undefined || group === undefined || group.stopped)
      throw new Error(`region ${id} is to be merged and its peer is not on this store`);
    if (replica.mergeState?.commit === commit) return undefined;
    const ready = new Promise<void>((resolve) => this.#awaited.set(id, { commit, ready: resolve }));
    // Its own leader may be gone: what it lacks has come with the merge.
    group.adoptCommitted(
      entries.map(({ entryType, ...entry }) => ({ ...entry, type: entryType })),
      commit,
    );
    return ready;
  }

  /** The source's own log is evaluated through its PrepareMerge. */
  isReady(source: number, commit: number): void {
    const waiting = this.#awaited.get(source);
    if (waiting === undefined || waiting.commit !== commit) return;
    this.#awaited.delete(source);
    waiting.ready();
  }

  /**
   * Ends sources that were merged on other stores, and whose targets here are past that or will never be: nothing waits for
   * them any more. The others make room for their targets.
   */
  dropMerged(): void {
    const { meta, replicas, destroy, roomMade } = this.#parts;
    for (const merge of [...meta.merges]) {
      const replica = replicas.get(merge.source);
      if (!merge.done || replica === undefined || this.isAwaited(merge.source)) continue;
      const { target } = merge;
      if (this.#isPast(target) || this.#willNeverBe(target))
        destroy(replica, `its region was merged into region ${target.id}`);
    }
    roomMade();
  }

  #isPast(target: metapb.Region): boolean {
    const local = this.#parts.meta.region(target.id);
    return local !== undefined && epochOf(target).version < epochOf(local).version;
  }

  /** Where the target never was or is gone, it will not come for its source. */
  #willNeverBe(target: metapb.Region): boolean {
    const { meta, storeId } = this.#parts;
    const taker = peerOnStore(target, storeId)?.id ?? 0;
    return meta.region(target.id) === undefined && (meta.tombstone(target.id)?.peer ?? 0) >= taker;
  }
}
