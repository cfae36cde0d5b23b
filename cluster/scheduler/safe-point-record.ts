import type { WriteBatch } from '../../storage/index.js';
import { nameOfKey } from '../../storage/keys.js';
import { troupepb } from '../proto/index.js';

/** Below it nothing is: no timestamp of the oracle is 0. */
const NONE = 0n;
/** Services that hold the safe points back at once. */
export const MAX_SERVICES = 10_000;
/** Bytes of a service's name. */
export const MAX_SERVICE_ID_BYTES = 128;

/** Where records are written. */
export interface SafePointKeys {
  readonly safePoints: Uint8Array;
  /** A key of the kind, and of the service's name. */
  service(id: Uint8Array): Uint8Array;
}

export type ServiceSafePoint = Omit<troupepb.PutServiceSafePoint, 'now'>;

/**
 * The safe points as the schedulers replicate them (PD's GC safe point and service safe points), and who holds them back.
 *
 * Both only grow, and the transaction safe point is never below the GC safe point nor, when it is raised, above what a
 * service holds. Whether a service's time is over is told by the `now` of a command, so that all members agree.
 */
export class SafePointRecord {
  readonly #keys: SafePointKeys;
  readonly #services = new Map<string, ServiceSafePoint>();
  #transaction = NONE;
  #gc = NONE;

  constructor(keys: SafePointKeys) {
    this.#keys = keys;
  }

  /** Reads below it are refused, and prewrites of transactions that began at or below it. */
  get transaction(): bigint {
    return this.#transaction;
  }

  /** What no read at or above it sees may be removed. */
  get gc(): bigint {
    return this.#gc;
  }

  /** Those whose time is over may still be among them. */
  get services(): Iterable<ServiceSafePoint> {
    return this.#services.values();
  }

  clear(): void {
    this.#services.clear();
    this.#transaction = NONE;
    this.#gc = NONE;
  }

  /** As it was on disk. */
  restore(points: troupepb.SafePoints): void {
    this.#transaction = points.txnSafePoint;
    this.#gc = points.gcSafePoint;
  }

  /** As it was on disk. */
  restoreService({ serviceId, safePoint, expiresAt }: troupepb.PutServiceSafePoint): void {
    this.#services.set(nameOfKey(serviceId), { serviceId: serviceId.slice(), safePoint, expiresAt });
  }

  /**
   * Notes what a service holds, in place of what it held before, or that it holds nothing any more.
   * @returns `late` when the transaction safe point is above it, `full` when there are too many: nothing is changed then
   */
  put(asked: troupepb.PutServiceSafePoint, batch: WriteBatch): 'put' | 'late' | 'full' {
    const { serviceId, safePoint, expiresAt, now } = asked;
    const name = nameOfKey(serviceId);
    if (expiresAt <= now) {
      this.#drop(name, batch);
      return 'put';
    }
    if (safePoint < this.#transaction) return 'late';
    if (!this.#services.has(name) && this.#services.size >= MAX_SERVICES) {
      this.#forgetExpired(now, batch);
      if (this.#services.size >= MAX_SERVICES) return 'full';
    }
    // The name is a view of a whole log entry.
    this.#services.set(name, { serviceId: serviceId.slice(), safePoint, expiresAt });
    batch.put('default', this.#keys.service(serviceId), troupepb.PutServiceSafePoint.encode(asked));
    return 'put';
  }

  /** Raises the safe points as far as may be. */
  advance({ txnSafePoint, gcSafePoint, now }: troupepb.AdvanceSafePoints, batch: WriteBatch): void {
    this.#forgetExpired(now, batch);
    let most = txnSafePoint;
    for (const { safePoint } of this.#services.values()) if (safePoint < most) most = safePoint;
    const transaction = later(this.#transaction, most);
    const gc = gcSafePoint > transaction ? transaction : later(this.#gc, gcSafePoint);
    if (transaction === this.#transaction && gc === this.#gc) return;
    this.#transaction = transaction;
    this.#gc = gc;
    const points = troupepb.SafePoints.encode({ txnSafePoint: transaction, gcSafePoint: gc });
    batch.put('default', this.#keys.safePoints, points);
  }

  #forgetExpired(now: number, batch: WriteBatch): void {
    for (const [name, { expiresAt }] of this.#services) if (expiresAt <= now) this.#drop(name, batch);
  }

  #drop(name: string, batch: WriteBatch): void {
    const known = this.#services.get(name);
    if (known === undefined) return;
    this.#services.delete(name);
    batch.delete('default', this.#keys.service(known.serviceId));
  }
}

function later(a: bigint, b: bigint): bigint {
  if (a > b) return a;
  return b;
}
