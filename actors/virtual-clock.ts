import type { Clock, TimerHandle } from './clock.js';

interface VirtualTimer {
  readonly at: number;
  readonly order: number;
  fn: (() => void) | undefined;
}

/**
 * A clock whose time moves only when a spec moves it, in a fixed order: by due time, then by the order of creation.
 *
 * Between two events the process's own microtasks are drained, so promises may be used freely by what runs on it; what
 * waits for real I/O or real timers does not belong on it.
 */
export class VirtualClock implements Clock {
  #now = 0;
  #order = 0;
  readonly #heap: VirtualTimer[] = [];
  #running = false;
  #executed = 0;

  now(): number {
    return this.#now;
  }

  setTimeout(fn: () => void, ms: number): TimerHandle {
    const timer: VirtualTimer = { at: this.#now + Math.max(0, ms), order: this.#order++, fn };
    push(this.#heap, timer);
    return timer;
  }

  clearTimeout(handle: TimerHandle): void {
    (handle as VirtualTimer).fn = undefined;
  }

  immediate(fn: () => void): void {
    this.setTimeout(fn, 0);
  }

  /** How many events have run since the clock was made. */
  get executed(): number {
    return this.#executed;
  }

  /**
   * A clock that shares this one's time and dies with the process that it stands for: after `kill`, nothing that was
   * scheduled through it runs any more.
   */
  process(): ProcessClock {
    return new ProcessClock(this);
  }

  /** Lets `ms` milliseconds pass and runs everything that falls due. */
  advance(ms: number): Promise<void> {
    return this.#runTo(this.#now + ms, () => false).then((): void => {});
  }

  /**
   * Runs until `condition` holds, looking after every event.
   * @param limit virtual milliseconds after which it gives up
   * @returns whether the condition holds
   */
  runUntil(condition: () => boolean, limit: number): Promise<boolean> {
    return this.#runTo(this.#now + limit, condition);
  }

  /**
   * Runs until nothing is scheduled.
   * @throws Error when more than `limit` events have run: something reschedules itself for ever
   */
  async run(limit = 1_000_000): Promise<void> {
    const last = this.#executed + limit;
    await this.#runTo(Number.POSITIVE_INFINITY, () => {
      if (this.#executed > last) throw new Error(`more than ${limit} events: use advance or runUntil`);
      return false;
    });
  }

  async #runTo(end: number, condition: () => boolean): Promise<boolean> {
    if (this.#running) throw new Error('the virtual clock is already running');
    this.#running = true;
    try {
      await drainMicrotasks();
      while (!condition()) {
        const timer = this.#heap[0];
        if (timer === undefined || timer.at > end) {
          if (Number.isFinite(end)) this.#now = end;
          return condition();
        }
        pop(this.#heap);
        if (timer.fn === undefined) continue;
        this.#now = timer.at;
        const { fn } = timer;
        timer.fn = undefined;
        this.#executed++;
        fn();
        await drainMicrotasks();
      }
      return true;
    } finally {
      this.#running = false;
    }
  }
}

/** The clock of one simulated process. */
export class ProcessClock implements Clock {
  #killed = false;

  constructor(private readonly clock: VirtualClock) {}

  now(): number {
    return this.clock.now();
  }

  setTimeout(fn: () => void, ms: number): TimerHandle {
    return this.clock.setTimeout(() => {
      if (!this.#killed) fn();
    }, ms);
  }

  clearTimeout(handle: TimerHandle): void {
    this.clock.clearTimeout(handle);
  }

  immediate(fn: () => void): void {
    this.setTimeout(fn, 0);
  }

  get killed(): boolean {
    return this.#killed;
  }

  /** Power off: what was scheduled does not happen, what is scheduled from now on neither. */
  kill(): void {
    this.#killed = true;
  }
}

/** An immediate runs only when no microtask is left, however long the chain of promises was. */
function drainMicrotasks(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function before(a: VirtualTimer, b: VirtualTimer): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}

function push(heap: VirtualTimer[], timer: VirtualTimer): void {
  let index = heap.length;
  heap.push(timer);
  while (index > 0) {
    const parent = (index - 1) >> 1;
    const above = heap[parent] as VirtualTimer;
    if (!before(timer, above)) break;
    heap[index] = above;
    index = parent;
  }
  heap[index] = timer;
}

function pop(heap: VirtualTimer[]): void {
  const last = heap.pop();
  if (last === undefined || heap.length === 0) return;
  let index = 0;
  for (;;) {
    let child = 2 * index + 1;
    if (child >= heap.length) break;
    if (child + 1 < heap.length && before(heap[child + 1] as VirtualTimer, heap[child] as VirtualTimer))
      child++;
    if (!before(heap[child] as VirtualTimer, last)) break;
    heap[index] = heap[child] as VirtualTimer;
    index = child;
  }
  heap[index] = last;
}
