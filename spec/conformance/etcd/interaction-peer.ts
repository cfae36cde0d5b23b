import {
  type ConfState,
  DEFAULT_RAFT_CONFIG,
  decodeConfChange,
  type Entry,
  EntryType,
  type RaftOptions,
  RawNode,
  type Snapshot,
  type StorageAppend,
  type StorageApply,
} from '../../../machines/index.js';
import { MemoryStorage } from '../../machines/raft/memory-storage.js';
import { CommandError } from './command-error.js';

/** A peer of an interaction file: the node, its disk, and an application that appends data to a string. */
export class InteractionPeer {
  readonly id: number;
  readonly node: RawNode;
  readonly storage: MemoryStorage;
  readonly asynchronous: boolean;
  readonly electionTick: number;
  readonly heartbeatTick: number;
  /** A snapshot for every applied entry, oldest first. */
  readonly history: Snapshot[];
  readonly appendWork: StorageAppend[] = [];
  readonly applyWork: StorageApply[] = [];

  constructor(options: RaftOptions, snapshot: Snapshot) {
    this.id = options.id;
    this.asynchronous = options.asyncStorageWrites === true;
    this.electionTick = options.electionTick ?? DEFAULT_RAFT_CONFIG.electionTick;
    this.heartbeatTick = options.heartbeatTick ?? DEFAULT_RAFT_CONFIG.heartbeatTick;
    this.storage = new MemoryStorage(snapshot);
    this.node = new RawNode(options, this.storage.initialState(snapshot.index));
    this.history = [snapshot];
  }

  get snapshot(): Snapshot {
    return this.history[this.history.length - 1] as Snapshot;
  }

  persist(write: Pick<StorageAppend, 'hardState' | 'entries' | 'snapshot'>): void {
    if (write.hardState !== undefined) this.storage.hardState = write.hardState;
    if (write.snapshot === undefined) return this.storage.append(write.entries);
    // etcd's harness cannot either.
    if (write.entries.length > 0) {
      throw new CommandError("can't apply snapshot and entries at the same time");
    }
    this.storage.applySnapshot(write.snapshot);
  }

  apply(entries: readonly Entry[]): void {
    for (const entry of entries) {
      const last = this.snapshot;
      let update = entry.data;
      let confState: ConfState = last.confState;
      if (entry.type !== EntryType.normal) {
        const change = decodeConfChange(entry);
        update = change.context;
        confState = this.act((node) => node.applyConfChange(change));
      }
      const data = Uint8Array.from([...last.data, ...update]);
      this.history.push({ index: entry.index, term: entry.term, confState, data });
    }
  }

  /** Calls the node, and answers at once whatever it wants read. */
  act<Result>(call: (node: RawNode) => Result): Result {
    const { node, storage } = this;
    const result = call(node);
    for (let wanted = node.fetches(); wanted.length > 0; wanted = node.fetches()) {
      for (const fetch of wanted) {
        if (fetch.kind === 'snapshot') node.snapshotFetched(fetch, this.snapshot);
        else node.entriesFetched(fetch, storage.read(fetch.low, fetch.high, fetch.maxBytes));
      }
    }
    return result;
  }
}
