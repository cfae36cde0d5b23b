import type { Span } from '@opentelemetry/api';
import type { ConfChange, RaftError } from '../../machines/index.js';
import { COMMAND_VERSION, encodeCommand, type metapb, raft_cmdpb } from '../../storage/proto/index.js';
import type { RaftGroup } from '../raft/group.js';
import type { CommandLog, Outcome } from '../raft/state-machine.js';
import type { PeerSpans } from '../tracing/peer-spans.js';
import { DATA_RULE } from './admin/epoch.js';
import type { EntryCommands } from './entry-commands.js';
import type { CommandResult } from './evaluate.js';
import type { RegionCall } from './region-call.js';
import type { RegionChanges } from './region-changes.js';
import { epochNotMatch } from './region-errors.js';
import { WriteTurn } from './write-turn.js';

const { AdminCmdType } = raft_cmdpb;

/** The replica whose commands are proposed. */
export interface ProposingReplica {
  readonly region: metapb.Region;
  readonly peer: metapb.Peer;
  readonly group: CommandLog;
  readonly raftGroup: RaftGroup | undefined;
  readonly changes: RegionChanges;
}

export interface RegionProposalsParts {
  /** Bytes of one log entry. */
  readonly maxEntryBytes: number;
  /** Knows the commands that were proposed here by their encoding. */
  readonly commands: EntryCommands;
  /** There are writes to propose at the end of the turn. */
  readonly wantsTurn: () => void;
  /** Absent where nobody takes spans. */
  readonly spans: PeerSpans | undefined;
}

/** A region's commands on their way into its log: raw writes of a turn together, all others at once. */
export class RegionProposals {
  readonly #replica: ProposingReplica;
  readonly #parts: RegionProposalsParts;
  readonly #writes: WriteTurn;

  constructor(replica: ProposingReplica, parts: RegionProposalsParts) {
    this.#replica = replica;
    this.#parts = parts;
    this.#writes = new WriteTurn(parts.maxEntryBytes);
  }

  /** Raw writes: they become an entry with the others of this turn, and are answered with its outcome. */
  write(call: RegionCall): void {
    const first = this.#writes.isEmpty;
    const refused = this.#writes.add(call, this.#replica.region, () => this.endTurn());
    if (refused !== undefined) call.fail(refused);
    else if (first) this.#parts.wantsTurn();
  }

  /** The turn's writes become an entry. */
  endTurn(): void {
    if (this.#writes.isEmpty) return;
    const { requests, waiting } = this.#writes.take();
    if (requests.length === 0) {
      waiting.settle({
        ok: true,
        result: { regionError: undefined, swaps: undefined } satisfies CommandResult,
      });
      return;
    }
    // Proposed behind a change of the epoch it would be refused when it is applied.
    const moved = () =>
      waiting.settle({
        ok: true,
        result: { regionError: epochNotMatch([this.#replica.region]), swaps: undefined },
      });
    if (!this.#replica.changes.admits(DATA_RULE, moved)) return;
    const spans = this.#parts.spans === undefined ? undefined : waiting.spans;
    const settle = (outcome: Outcome<unknown>) => waiting.settle(outcome);
    this.#propose(this.#command(requests, undefined), settle, undefined, spans);
  }

  /** See `TxnRegion.proposeChanges`. */
  proposeChanges(
    requests: readonly raft_cmdpb.Request[],
    term: number,
    done: (outcome: Outcome<unknown>) => void,
    visible: () => void,
    spans?: () => readonly Span[] | undefined,
  ): void {
    const moved = () =>
      done({
        ok: true,
        result: { regionError: epochNotMatch([this.#replica.region]), swaps: undefined },
      });
    if (!this.#replica.changes.admits(DATA_RULE, moved)) return;
    const traced = this.#parts.spans === undefined ? undefined : spans?.();
    this.#propose(this.#command(requests, undefined, term), done, visible, traced);
  }

  /** Puts a command of the region itself into its log, behind the turn's writes. */
  proposeAdmin(
    admin: Partial<raft_cmdpb.AdminRequest> & { readonly cmdType: raft_cmdpb.AdminCmdType },
    done: (outcome: Outcome<unknown>) => void,
  ): void {
    this.endTurn();
    this.#propose(this.#command([], raft_cmdpb.AdminRequest.from(admin)), done);
  }

  /** The same for a membership change. @returns why Raft refuses it */
  proposeMembership(
    admin: Partial<raft_cmdpb.AdminRequest> & { readonly cmdType: raft_cmdpb.AdminCmdType },
    change: ConfChange,
    done: (outcome: Outcome<unknown>) => void,
  ): RaftError | undefined {
    const { raftGroup: group } = this.#replica;
    if (group === undefined)
      throw new Error('the members of a region without a Raft group cannot be changed');
    this.endTurn();
    const context = encodeCommand(this.#command([], raft_cmdpb.AdminRequest.from(admin)));
    return group.proposeConfChange({ ...change, context }, done);
  }

  #propose(
    command: raft_cmdpb.RaftCmdRequest,
    done: (outcome: Outcome<unknown>) => void,
    visible?: () => void,
    traced?: readonly Span[] | undefined,
  ): void {
    const { commands, spans } = this.#parts;
    const data = encodeCommand(command);
    commands.proposed(data, command);
    const before = traced === undefined ? 0 : spans?.lastIndex;
    this.#replica.group.propose(data, done, changesRegion(command.adminRequest), visible);
    if (traced !== undefined) spans?.proposed(before, traced);
  }

  #command(
    requests: readonly raft_cmdpb.Request[],
    adminRequest: raft_cmdpb.AdminRequest | undefined,
    term = this.#replica.group.term,
  ) {
    const { region, peer } = this.#replica;
    const { id: regionId, regionEpoch } = region;
    const header = { regionId, peer, regionEpoch, term };
    return { header, requests, adminRequest, version: COMMAND_VERSION };
  }
}

/** Other replicas, and the parts of a split, wait for it to be applied everywhere. */
function changesRegion(admin: raft_cmdpb.AdminRequest | undefined): boolean {
  switch (admin?.cmdType) {
    case AdminCmdType.BatchSplit:
    case AdminCmdType.PrepareMerge:
    case AdminCmdType.CommitMerge:
    case AdminCmdType.RollbackMerge:
      return true;
    default:
      return false;
  }
}
