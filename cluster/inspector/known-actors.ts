/** The actors that nodes have told an inspector of. */

export interface KnownActor {
  readonly address: string;
  /** The address as it is sorted. */
  readonly order: string;
  machine: string;
  value: unknown;
  status: string;
  queued: number;
  restarts: number;
}

const MOST_ACTORS = 100_000;

export class KnownActors {
  readonly #actors = new Map<string, KnownActor>();
  /** By name; some may be gone, and those that came since the last look stand behind it. */
  #byName: KnownActor[] = [];
  #newcomers = new Set<KnownActor>();
  #someGone = false;

  get size(): number {
    return this.#actors.size;
  }

  get(address: string): KnownActor | undefined {
    return this.#actors.get(address);
  }

  values(): Iterable<KnownActor> {
    return this.#actors.values();
  }

  /** By name, numbers in it by their value: `store-2` before `store-10`. */
  sorted(): readonly KnownActor[] {
    this.dropGone();
    if (this.#newcomers.size > 0) {
      // Nearly sorted already, of which sorting makes use.
      this.#byName = [...this.#byName, ...this.#newcomers].sort((a, b) => (a.order < b.order ? -1 : 1));
      this.#newcomers.clear();
    }
    return this.#byName;
  }

  /** The actor at an address, which is new where it was not known; `undefined` when there are too many already. */
  meet(address: string): KnownActor | undefined {
    let actor = this.#actors.get(address);
    if (actor === undefined && this.#actors.size < MOST_ACTORS) {
      const order = address.replace(/\d+/g, (digits) => digits.padStart(12, '0'));
      actor = { address, order, machine: '', value: '', status: 'active', queued: 0, restarts: 0 };
      this.#actors.set(address, actor);
      this.#newcomers.add(actor);
    }
    return actor;
  }

  /** What a node says of its actors. @param items each an `ActorItem`, or left alone. @param gone paths */
  told(node: string, items: readonly unknown[], gone: readonly unknown[]): void {
    for (const item of items)
      if (isActorItem(item)) Object.assign(this.meet(`${node}/${item.path}`) ?? {}, told(item));
    for (const path of gone) this.forget(`${node}/${String(path)}`);
  }

  forget(address: string): void {
    const actor = this.#actors.get(address);
    if (actor === undefined) return;
    this.#actors.delete(address);
    // Who came since the last look stands in no order yet.
    if (!this.#newcomers.delete(actor)) this.#someGone = true;
  }

  forgetNode(node: string): void {
    for (const address of this.#actors.keys()) if (address.startsWith(`${node}/`)) this.forget(address);
  }

  /** Lets go of those that are gone, and were kept in their order. */
  dropGone(): void {
    if (this.#someGone) this.#byName = this.#byName.filter((one) => this.#actors.get(one.address) === one);
    this.#someGone = false;
  }

  clear(): void {
    this.#actors.clear();
    this.#byName = [];
    this.#newcomers.clear();
    this.#someGone = false;
  }
}

interface ActorItem {
  readonly path: string;
  readonly status: string;
  readonly queued: number;
  readonly restarts: number;
  readonly logic?: string;
}

function isActorItem(item: unknown): item is ActorItem {
  if (typeof item !== 'object' || item === null) return false;
  const { path, status, queued, restarts } = item as Record<string, unknown>;
  return (
    typeof path === 'string' &&
    typeof status === 'string' &&
    typeof queued === 'number' &&
    typeof restarts === 'number'
  );
}

function told({ status, queued, restarts, logic }: ActorItem): Partial<KnownActor> {
  return { status, queued, restarts, ...(typeof logic === 'string' ? { machine: logic } : {}) };
}
