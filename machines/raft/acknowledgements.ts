import type { RaftCore } from './core.js';
import { entriesSize, payloadSize } from './entry-cache.js';
import { invariant } from './errors.js';
import { countOwn } from './replication.js';
import type { Entry, Fetch, Message } from './types.js';

/** What the host reports back: written, applied, read from disk. */

/** Entries through (logTerm, index) and the snapshot are on disk. The chart let it through: its term is this one. */
export function persistedEntries(core: RaftCore, acknowledgement: Message): void {
  if (acknowledgement.index !== 0) core.log.stableTo(acknowledgement.index, acknowledgement.logTerm);
  persistedSnapshot(core, acknowledgement);
}

/** A snapshot holds what is committed, so its installation counts in whatever term it is reported. */
export function persistedSnapshot(core: RaftCore, { snapshot }: Message): void {
  if (snapshot === undefined) return;
  core.log.snapshotInstalled(snapshot.index);
}

export function appliedEntries(core: RaftCore, { index, entries }: Message): void {
  core.log.appliedTo(index, entriesSize(entries));
  // Entries of earlier terms were never counted here, so what is applied may be more than what is outstanding.
  core.uncommittedSize = Math.max(0, core.uncommittedSize - payloadSize(entries));
}

/** @throws RaftInvariantError when what is committed cannot be read: this peer can never go on. */
export function fetchedForApplying(core: RaftCore, fetch: Fetch, entries: readonly Entry[]): void {
  // Asked for a member by the leader that this peer no longer is: nothing says that these are committed.
  if (fetch.peer !== core.id) return;
  core.fetchingForApply = false;
  const low = core.log.applying + 1;
  const usable = countOwn(core, low, entries);
  invariant(
    usable > 0 || fetch.kind !== 'entries' || fetch.low !== low || low < core.log.firstIndex,
    () => `peer ${core.id} cannot read the committed entry ${low} back from its disk`,
  );
  core.log.fetchedForApplying(usable === entries.length ? entries : entries.slice(0, usable));
}
