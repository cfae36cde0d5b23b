import type { RawNode } from '../../machines/index.js';
import type { ColumnFamily, Engine, EngineSnapshot, ScanOptions, ScanResult } from '../../storage/index.js';
import { eraftpb } from '../../storage/proto/index.js';
import { GroupRecord, parseRecordKey } from '../../storage/raft-keys.js';
import { ForwardingEngine } from './disk-record.js';

/** Mistakes that have been made elsewhere, put around the product to show that the simulation would notice them. */
export interface PlantedBug {
  /** Stands between the host and its disk. */
  readonly engine?: (engine: Engine) => Engine;
  /** Changes the core of a node that has just started. */
  readonly core?: (raft: RawNode) => void;
  /** Whoever believes to lead answers reads at once. */
  readonly unconfirmedReads?: boolean;
}

export const plantedBugs = {
  /** The vote is on disk, and is not read back at restart: two candidates of one term may each have it. */
  'forgotten-vote': { engine: (engine) => new VoteForgettingEngine(engine) },
  /** Entries and votes are acknowledged while the disk still has to make them durable. */
  'acknowledged-before-sync': { engine: (engine) => new HastyEngine(engine) },
  /** A leader counts the replicas of entries of earlier terms (Raft, figure 8). */
  'commit-of-older-term': { core: commitAnyTerm },
  /** A deposed leader that has not heard of it yet serves what it has. */
  'unconfirmed-read': { unconfirmedReads: true },
} as const satisfies Record<string, PlantedBug>;

export type PlantedBugName = keyof typeof plantedBugs;

class VoteForgettingEngine extends ForwardingEngine {
  override async multiGet(cf: ColumnFamily, keys: readonly Uint8Array[], snapshot?: EngineSnapshot) {
    const values = await this.inner.multiGet(cf, keys, snapshot);
    return cf === 'raft' ? values.map((value, i) => withoutVote(keys[i], value)) : values;
  }

  override async scan(cf: ColumnFamily, options: ScanOptions): Promise<ScanResult> {
    const result = await this.inner.scan(cf, options);
    if (cf !== 'raft') return result;
    return { ...result, values: result.values.map((value, i) => withoutVote(result.keys[i], value)) };
  }
}

function withoutVote<V extends Uint8Array | undefined>(
  key: Uint8Array | undefined,
  value: V,
): V | Uint8Array {
  if (value === undefined || key === undefined) return value;
  if (parseRecordKey(key)?.kind !== GroupRecord.hardState) return value;
  return eraftpb.HardState.encode({ ...eraftpb.HardState.decode(value), vote: 0 });
}

class HastyEngine extends ForwardingEngine {
  override sync(): Promise<void> {
    // A crash may leave it for ever unfinished; its failure is the disk's to report with the next call.
    void this.inner.sync().catch(() => {});
    return Promise.resolve();
  }
}

/** The rule sits inside the core, whose log no host is given; a spec reaches in. */
function commitAnyTerm(raft: RawNode): void {
  const { log } = (raft as unknown as { readonly core: { readonly log: CommittingLog } }).core;
  log.maybeCommit = (index) => {
    if (index <= log.committed || index > log.lastIndex) return false;
    log.commitTo(index);
    return true;
  };
}

interface CommittingLog {
  readonly committed: number;
  readonly lastIndex: number;
  commitTo(index: number): void;
  maybeCommit(index: number, term: number): boolean;
}
