import { type Entry, EntryType, type RawNode, type Status } from '../../../machines/index.js';
import { decodeCommand, type metapb, raft_cmdpb } from '../../../storage/proto/index.js';
import { notNow, type Refusal } from './refusal.js';

const { AdminCmdType } = raft_cmdpb;

/** Entries that a member may lack (TiKV's `merge-max-log-gap`), and may not know to be committed. */
const MAX_LOG_GAP = 10;
const MAX_COMMIT_GAP = 20;
/** Share of the entry limit that what members lack may take: it travels in one entry of the target. */
const ENTRY_SHARE = 0.9;

/**
 * Whether what members of a merge's source lack can travel with the merge: every member has nearly all of the log, and what
 * stands in the gap changes nothing but data.
 * @returns the index from which on a member may lack entries
 */
export function refuseGap(
  region: metapb.Region,
  status: Status,
  raft: RawNode,
  maxEntryBytes: number,
): { readonly minIndex: number } | Refusal {
  const { lastIndex, progress } = status;
  let matched = lastIndex;
  let committed = lastIndex;
  for (const member of progress.values()) {
    if (member.state === 'snapshot') return notYet(region, 'a member waits for a snapshot');
    matched = Math.min(matched, member.match);
    committed = Math.min(committed, member.knownCommit);
  }
  if (matched === 0 || committed === 0 || matched + 1 < status.firstIndex)
    return notYet(region, 'a member is new');
  if (lastIndex - matched > MAX_LOG_GAP || lastIndex - committed > MAX_COMMIT_GAP)
    return notYet(region, 'a member is behind');
  const from = Math.min(matched, committed) + 1;
  const entries = raft.heldEntries(from, lastIndex + 1);
  if (entries === undefined) return notYet(region, 'the end of its log is not at hand');
  if (entries.some(changesMore)) return notYet(region, 'it was changed just now');
  let bytes = 0;
  for (const { index, data } of entries) if (index > matched) bytes += data.length;
  if (bytes > ENTRY_SHARE * maxEntryBytes) return notYet(region, 'a member lacks too many bytes');
  return { minIndex: matched + 1 };
}

function notYet({ id }: metapb.Region, why: string): Refusal {
  return notNow('not-ready', `region ${id} cannot be merged yet: ${why}; ask again`);
}

/** Whether an entry changes more than data. */
function changesMore({ type, data }: Entry): boolean {
  if (data.length === 0) return false;
  if (type !== EntryType.normal) return true;
  const kind = decodeCommand(data).adminRequest?.cmdType ?? AdminCmdType.InvalidAdmin;
  return (
    kind !== AdminCmdType.InvalidAdmin &&
    kind !== AdminCmdType.ComputeHash &&
    kind !== AdminCmdType.VerifyHash
  );
}
