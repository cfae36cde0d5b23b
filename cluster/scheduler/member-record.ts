import { type Engine, RaftLog, type WriteBatch } from '../../storage/index.js';
import { SCHEDULER_MEMBER_KEY } from '../../storage/raft-keys.js';
import { TroupeError } from '../errors.js';
import { troupepb } from '../proto/index.js';
import { SCHEDULER_GROUP } from './snapshots.js';

export type MemberRecord = troupepb.SchedulerMember;

export function saveMember(batch: WriteBatch, record: MemberRecord): void {
  batch.put('raft', SCHEDULER_MEMBER_KEY, troupepb.SchedulerMember.encode(record));
}

/**
 * What the directory knows of its group; of a new one, that it is new.
 * @param name this member's
 * @param schedulers all names, as the options have them
 * @param fresh the directory is empty
 * @throws TroupeError `identity` when the directory belongs to a group with other names
 */
export async function memberRecord(
  engine: Engine,
  name: string,
  schedulers: readonly string[],
  fresh: boolean,
  random: () => number,
): Promise<MemberRecord> {
  const record: MemberRecord = {
    schedulers: [...schedulers],
    birth: 1 + Math.floor(random() * (Number.MAX_SAFE_INTEGER - 1)),
    admitted: schedulers.length === 1,
    known: [],
    floorTerm: 0,
    floorIndex: 0,
  };
  if (fresh) return record;
  const bytes = await engine.get('raft', SCHEDULER_MEMBER_KEY);
  if (bytes !== undefined) {
    const found = troupepb.SchedulerMember.decode(bytes);
    if (found.schedulers.join() !== schedulers.join()) throw otherGroup(name, found.schedulers, schedulers);
    return found;
  }
  // From before this record was kept.
  const voters =
    (await new RaftLog(engine).loadStored(SCHEDULER_GROUP))?.initial.confState.voters.length ?? 0;
  if (voters !== schedulers.length)
    throw otherGroup(name, [voters === 1 ? 'one scheduler' : `${voters} schedulers`], schedulers);
  const others = schedulers.filter((one) => one !== name);
  return { ...record, admitted: true, known: others.map((one) => ({ name: one, birth: 0 })) };
}

function otherGroup(name: string, known: readonly string[], given: readonly string[]): TroupeError {
  return new TroupeError(
    'identity',
    `The data directory of "${name}" belongs to a group of ${known.join(',')}, and --schedulers says ${given.join(',')}: give every scheduler the same names in the same order.`,
  );
}
