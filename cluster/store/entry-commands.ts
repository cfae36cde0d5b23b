import { type ConfChange, decodeConfChange, type Entry, EntryType } from '../../machines/index.js';
import { decodeCommand, raft_cmdpb } from '../../storage/proto/index.js';
import type { EntryRun } from '../raft/state-machine.js';
import { comparesAndSwaps } from './evaluate.js';

const { AdminCmdType } = raft_cmdpb;

/** What an entry of a region's log asks for. */
export interface EntryCommand {
  readonly entry: Entry;
  readonly command: raft_cmdpb.RaftCmdRequest;
  /** The membership change as Raft has it, when the entry is one. */
  readonly change: ConfChange | undefined;
}

/**
 * Reads the commands of committed entries. Those that this replica proposed itself are known by their encoding and need
 * not be decoded.
 */
export class EntryCommands {
  readonly #proposed = new WeakMap<Uint8Array, raft_cmdpb.RaftCmdRequest>();
  #last:
    | { readonly entries: readonly Entry[]; readonly commands: readonly (EntryCommand | undefined)[] }
    | undefined;

  proposed(data: Uint8Array, command: raft_cmdpb.RaftCmdRequest): void {
    this.#proposed.set(data, command);
  }

  /** A command per entry; none for the empty ones. @throws DecodeError, RaftInvariantError for what cannot be read */
  take(entries: readonly Entry[]): readonly (EntryCommand | undefined)[] {
    const commands = this.#last?.entries === entries ? this.#last.commands : this.#decode(entries);
    this.#last = undefined;
    return commands;
  }

  /** The same, to look at: `undefined` where one cannot be read. `take` meets it again, where that may stop the peer. */
  peek(entries: readonly Entry[]): readonly (EntryCommand | undefined)[] | undefined {
    if (this.#last?.entries === entries) return this.#last.commands;
    try {
      this.#last = { entries, commands: this.#decode(entries) };
    } catch {
      return undefined;
    }
    return this.#last.commands;
  }

  /**
   * A hash is of the data as its entry finds it; a split looks at the records of its new regions, a merge waits for its
   * source, and who is removed for its end: each begins a run of its own.
   */
  divide(entries: readonly Entry[]): readonly EntryRun[] | undefined {
    const commands = this.peek(entries);
    if (!commands?.some(beginsRun)) return undefined;
    const runs: { entries: Entry[]; looksBack: boolean }[] = [];
    for (const [i, entry] of entries.entries()) {
      const command = commands[i];
      if (runs.length === 0 || beginsRun(command)) runs.push({ entries: [], looksBack: looksBack(command) });
      runs.at(-1)?.entries.push(entry);
    }
    return runs;
  }

  needsReads(entries: readonly Entry[]): boolean {
    return (
      this.peek(entries)?.some(
        (one) => one !== undefined && (comparesAndSwaps(one.command) || splits(one)),
      ) ?? false
    );
  }

  #decode(entries: readonly Entry[]): (EntryCommand | undefined)[] {
    return entries.map((entry) => {
      if (entry.data.length === 0) return undefined;
      if (entry.type === EntryType.normal)
        return { entry, command: this.#commandOf(entry.data), change: undefined };
      const change = decodeConfChange(entry);
      return { entry, command: decodeCommand(change.context), change };
    });
  }

  #commandOf(data: Uint8Array): raft_cmdpb.RaftCmdRequest {
    const own = this.#proposed.get(data);
    if (own === undefined) return decodeCommand(data);
    this.#proposed.delete(data);
    return own;
  }
}

function kindOf(one: EntryCommand | undefined): raft_cmdpb.AdminCmdType | undefined {
  return one?.command.adminRequest?.cmdType;
}

function splits(one: EntryCommand): boolean {
  return kindOf(one) === AdminCmdType.BatchSplit;
}

function looksBack(one: EntryCommand | undefined): boolean {
  const kind = kindOf(one);
  return kind === AdminCmdType.ComputeHash || kind === AdminCmdType.BatchSplit;
}

function beginsRun(one: EntryCommand | undefined): boolean {
  const kind = kindOf(one);
  return looksBack(one) || kind === AdminCmdType.CommitMerge || kind === AdminCmdType.ChangePeerV2;
}
