import type { Cell, StopReason } from './cell.js';
import type { Clock, TimerHandle } from './clock.js';
import type { FrameWriter } from './frame-writer.js';
import type { Down, DownReason } from './ref.js';

type Listener = (down: Down) => void;

/** Milliseconds. */
export interface WatchOptions {
  /** Between two heartbeats to a node that holds watched actors. */
  readonly interval: number;
  /** A node of which nothing has been heard for so long counts as down. */
  readonly timeout: number;
}

export const DEFAULT_WATCH: WatchOptions = { interval: 1000, timeout: 5000 };

export interface WatchHost {
  readonly node: string;
  readonly clock: Clock;
  /** The local actor at a path. */
  find(path: string): Cell | undefined;
  /** Runs `fn` in a turn. */
  task(fn: () => void): void;
  /** Adds envelopes to what leaves for a node at the end of the turn. */
  send(node: string, write: (writer: FrameWriter) => void): void;
  /** The clock's time when the node was last heard; 0 when never. */
  lastSeen(node: string): number;
}

interface RemoteWatch {
  /** The life of the actor that is watched; 0 until its node has named it. */
  uid: number;
  readonly listeners: Set<Listener>;
}

interface WatchedNode {
  /** When the silence that may end in `unreachable` began at the earliest. */
  since: number;
  readonly watches: Map<string, RemoteWatch>;
}

/**
 * Death watch, local and remote.
 *
 * Messages get lost, so a watch is not sent once but with every heartbeat, and says which life of the actor it means:
 * the watched node answers that it is gone as often as it is asked. A node that does not answer at all counts as down
 * after the timeout.
 */
export class DeathWatch {
  readonly #nodes = new Map<string, WatchedNode>();
  #timer: TimerHandle | undefined;
  #lastBeat = 0;

  constructor(
    private readonly host: WatchHost,
    private readonly options: WatchOptions,
  ) {}

  watch(node: string, path: string, listener: Listener): () => void {
    return node === this.host.node
      ? this.#watchLocal(path, listener)
      : this.#watchRemote(node, path, listener);
  }

  stop(): void {
    if (this.#timer !== undefined) this.host.clock.clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#nodes.clear();
  }

  /** Whether any actor of the node is watched from here. */
  watches(node: string): boolean {
    return this.#nodes.has(node);
  }

  /** A local actor is gone: those who watch it are told. */
  stopped(cell: Cell, reason: StopReason): void {
    for (const listener of cell.localWatchers) listener(reason);
    for (const node of cell.remoteWatchers.keys()) {
      this.host.send(node, (writer) => writer.down(cell.options.path, reason));
    }
    cell.localWatchers.clear();
    cell.remoteWatchers.clear();
  }

  /** Another node watches a path here. */
  onWatch(node: string, path: string, uid: number): void {
    const cell = this.host.find(path);
    if (cell === undefined && path !== '') {
      const reason: DownReason = uid === 0 ? 'no-such-actor' : 'stopped';
      this.host.send(node, (writer) => writer.down(path, reason));
      return;
    }
    const current = cell?.options.uid ?? 1;
    if (uid !== 0 && uid !== current) {
      this.host.send(node, (writer) => writer.down(path, 'stopped'));
      return;
    }
    cell?.remoteWatchers.set(node, this.host.clock.now());
    if (uid === 0) this.host.send(node, (writer) => writer.watching(path, current));
  }

  onUnwatch(node: string, path: string): void {
    this.host.find(path)?.remoteWatchers.delete(node);
  }

  onWatching(node: string, path: string, uid: number): void {
    const watch = this.#nodes.get(node)?.watches.get(path);
    if (watch !== undefined && watch.uid === 0) watch.uid = uid;
  }

  onDown(node: string, path: string, reason: string): void {
    this.#down(node, path, isDownReason(reason) ? reason : 'stopped');
  }

  /** The node is another incarnation than it was when the watches were confirmed: those actors are gone. */
  onIncarnation(node: string): void {
    const watched = this.#nodes.get(node);
    if (watched === undefined) return;
    for (const [path, watch] of [...watched.watches])
      if (watch.uid !== 0) this.#down(node, path, 'node-restarted');
  }

  /** Forgets watchers that have not said for long that they still watch. */
  forget(cells: Iterable<Cell>): void {
    const oldest = this.host.clock.now() - 3 * this.options.timeout;
    for (const { remoteWatchers } of cells) {
      for (const [node, at] of remoteWatchers) if (at < oldest) remoteWatchers.delete(node);
    }
  }

  #watchLocal(path: string, listener: Listener): () => void {
    const address = `${this.host.node}/${path}`;
    const cell = this.host.find(path);
    let active = true;
    const tell = (reason: DownReason): void =>
      this.host.task(() => {
        if (active) listener({ address, reason });
        active = false;
      });
    if (cell === undefined) {
      if (path !== '') tell('no-such-actor');
    } else {
      cell.localWatchers.add(tell);
    }
    return () => {
      active = false;
      cell?.localWatchers.delete(tell);
    };
  }

  #watchRemote(node: string, path: string, listener: Listener): () => void {
    let watched = this.#nodes.get(node);
    if (watched === undefined) {
      watched = { since: this.host.clock.now(), watches: new Map() };
      this.#nodes.set(node, watched);
    }
    let watch = watched.watches.get(path);
    if (watch === undefined) {
      watch = { uid: 0, listeners: new Set() };
      watched.watches.set(path, watch);
      this.host.send(node, (writer) => writer.watch(path, 0));
    }
    // A function of its own per call: one listener may watch the same actor twice.
    const own: Listener = (down) => listener(down);
    const { listeners } = watch;
    listeners.add(own);
    this.#schedule();
    return () => {
      if (!listeners.delete(own) || listeners.size > 0) return;
      if (this.#nodes.get(node)?.watches.get(path)?.listeners !== listeners) return;
      this.#remove(node, path);
      this.host.send(node, (writer) => writer.unwatch(path));
    };
  }

  #remove(node: string, path: string): RemoteWatch | undefined {
    const watched = this.#nodes.get(node);
    const watch = watched?.watches.get(path);
    watched?.watches.delete(path);
    if (watched?.watches.size === 0) this.#nodes.delete(node);
    return watch;
  }

  #down(node: string, path: string, reason: DownReason): void {
    const watch = this.#remove(node, path);
    if (watch === undefined) return;
    this.host.task(() => {
      for (const listener of watch.listeners) listener({ address: `${node}/${path}`, reason });
      watch.listeners.clear();
    });
  }

  #schedule(): void {
    if (this.#timer !== undefined || this.#nodes.size === 0) return;
    this.#lastBeat = this.host.clock.now();
    this.#timer = this.host.clock.setTimeout(() => {
      this.#timer = undefined;
      this.#beat();
      this.#schedule();
    }, this.options.interval);
  }

  #beat(): void {
    const now = this.host.clock.now();
    // After a pause of this process itself (a debugger, a suspended machine) the silence proves nothing.
    const slept = now - this.#lastBeat > 2 * this.options.interval;
    for (const [node, watched] of [...this.#nodes]) {
      if (slept) watched.since = now;
      if (now - Math.max(watched.since, this.host.lastSeen(node)) > this.options.timeout) {
        for (const path of [...watched.watches.keys()]) this.#down(node, path, 'unreachable');
        continue;
      }
      this.host.send(node, (writer) => writer.ping());
      for (const [path, { uid }] of watched.watches)
        this.host.send(node, (writer) => writer.watch(path, uid));
    }
  }
}

const DOWN_REASONS: readonly string[] = [
  'stopped',
  'done',
  'failed',
  'no-such-actor',
  'unreachable',
  'node-restarted',
];

function isDownReason(text: string): text is DownReason {
  return DOWN_REASONS.includes(text);
}
