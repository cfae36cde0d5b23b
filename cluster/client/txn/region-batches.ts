import type { AskedRegion } from '../call.js';
import type { Deadline } from '../deadline.js';
import { holdsKey, type Keyed } from './txn-call.js';
import type { TxnRequests } from './txn-requests.js';

/** At least one. */
export type Batch<I> = readonly [I, ...I[]];

export interface BatchLimits {
  readonly maxKeys: number;
  readonly maxBytes: number;
}

/** Batches of one phase under way at once. */
const MAX_UNDER_WAY = 16;

/** Cuts keys into batches that each lie in one region, as far as known, and sends them. */
export class RegionBatches {
  readonly #requests: TxnRequests;
  readonly #limits: BatchLimits;

  constructor(requests: TxnRequests, limits: BatchLimits) {
    this.#requests = requests;
    this.#limits = limits;
  }

  /**
   * Those of one region in their order, in as many batches as the limits ask for.
   * @param bytesOf how much of a batch's limit an item takes; an item above the limit goes alone
   */
  async group<I extends Keyed>(
    items: readonly I[],
    bytesOf: (item: I) => number,
    deadline: Deadline,
  ): Promise<Batch<I>[]> {
    const { maxKeys, maxBytes } = this.#limits;
    const batches: [I, ...I[]][] = [];
    const open = new Map<AskedRegion, { readonly batch: [I, ...I[]]; bytes: number }>();
    let region: AskedRegion | undefined;
    for (const item of items) {
      if (region === undefined || region.stale || !holdsKey(region, item.key))
        region = await this.#requests.locate(item.key, deadline);
      const bytes = bytesOf(item);
      const last = open.get(region);
      if (last !== undefined && last.batch.length < maxKeys && last.bytes + bytes <= maxBytes) {
        last.batch.push(item);
        last.bytes += bytes;
      } else {
        const batch: [I, ...I[]] = [item];
        batches.push(batch);
        open.set(region, { batch, bytes });
      }
    }
    return batches;
  }

  /**
   * Sends every batch. What a region turns out not to hold is cut anew, and goes on.
   * @param send resolves with what was not dealt with
   * @throws the first failure; nothing is sent after it
   */
  async send<I extends Keyed>(
    batches: readonly Batch<I>[],
    bytesOf: (item: I) => number,
    deadline: Deadline,
    send: (batch: Batch<I>) => Promise<readonly I[]>,
  ): Promise<void> {
    const waiting = [...batches];
    let failed = false;
    const work = async (): Promise<void> => {
      for (let batch = waiting.shift(); batch !== undefined && !failed; batch = waiting.shift()) {
        try {
          const rest = await send(batch);
          if (rest.length > 0) waiting.push(...(await this.group(rest, bytesOf, deadline)));
        } catch (error) {
          failed = true;
          throw error;
        }
      }
    };
    await Promise.all(Array.from({ length: Math.min(MAX_UNDER_WAY, batches.length) }, work));
  }

  /** Both. */
  async sendAll<I extends Keyed>(
    items: readonly I[],
    deadline: Deadline,
    send: (batch: Batch<I>) => Promise<readonly I[]>,
  ): Promise<void> {
    const batches = await this.group(items, keyBytes, deadline);
    await this.send(batches, keyBytes, deadline, send);
  }
}

/** A record's bytes around its key, with a short value. */
const RECORD_BYTES = 320;

/** What a command about a key takes of a log entry, roughly: it changes two records. */
export function keyBytes({ key }: Keyed): number {
  return 3 * key.length + RECORD_BYTES;
}
