import type { Clock, TimerHandle, Transport, TransportHost, VirtualClock } from '../../actors/index.js';

interface MachineTimer {
  readonly at: TimerHandle;
  fn: (() => void) | undefined;
}

/** Whatever a division loses, no timer fires before its time on its own clock. */
const ROUNDING_MS = 1e-6;

/**
 * The clock of one simulated process. It has an origin of its own and runs a little fast or slow; it stands still for its
 * process while that is paused (SIGSTOP: time goes on, nothing runs), and it dies with it.
 *
 * Everything that the world wants of the process goes through `run`: timers, frames, completions of the disk.
 */
export class MachineClock implements Clock {
  readonly #world: VirtualClock;
  readonly #rate: number;
  readonly #origin: number;
  /** What would have run while the process was paused, in order. */
  #held: (() => void)[] | undefined;
  #killed = false;

  /** @param rate milliseconds of this clock in one of the world's */
  constructor(world: VirtualClock, rate: number) {
    this.#world = world;
    this.#rate = rate;
    this.#origin = world.now();
  }

  now(): number {
    return (this.#world.now() - this.#origin) * this.#rate;
  }

  setTimeout(fn: () => void, ms: number): TimerHandle {
    const wait = ms > 0 ? ms / this.#rate + ROUNDING_MS : 0;
    const timer: MachineTimer = { fn, at: this.#world.setTimeout(() => this.run(() => timer.fn?.()), wait) };
    return timer;
  }

  clearTimeout(handle: TimerHandle): void {
    const timer = handle as MachineTimer;
    // It may have fallen due during a pause, and wait.
    timer.fn = undefined;
    this.#world.clearTimeout(timer.at);
  }

  immediate(fn: () => void): void {
    this.#world.immediate(() => this.run(fn));
  }

  get paused(): boolean {
    return this.#held !== undefined;
  }

  get killed(): boolean {
    return this.#killed;
  }

  /** Lets the process do something: now, when it goes on, or never. */
  run(fn: () => void): void {
    if (this.#killed) return;
    if (this.#held === undefined) fn();
    else this.#held.push(fn);
  }

  pause(): void {
    this.#held ??= [];
  }

  /** What has come meanwhile is done in its order, each as an event of its own. */
  resume(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const fn of held) this.immediate(fn);
  }

  kill(): void {
    this.#killed = true;
    this.#held = undefined;
  }
}

/** A transport whose process can be paused: what arrives waits for it. */
export function pausable(transport: Transport, clock: MachineClock): Transport {
  return {
    start: (host) => transport.start(behind(host, clock)),
    send: (frame) => transport.send(frame),
    openBulk: (onChunk) => transport.openBulk((chunk) => clock.run(() => onChunk(chunk))),
    close: () => transport.close(),
  };
}

/** Tells when a message has left. */
export function counting(transport: Transport, sent: () => void): Transport {
  return {
    start: (host) => transport.start(host),
    send: (frame) => {
      const carried = transport.send(frame);
      sent();
      return carried;
    },
    openBulk: (onChunk) => transport.openBulk(onChunk),
    close: () => transport.close(),
  };
}

function behind(host: TransportHost, clock: MachineClock): TransportHost {
  return {
    ...host,
    receive: (lane, frame) => clock.run(() => host.receive(lane, frame)),
    undeliverable: (node, first, last) => clock.run(() => host.undeliverable(node, first, last)),
    status: (status) => clock.run(() => host.status(status)),
  };
}
