import { restoreConfiguration, sameConfState, toConfState } from './configuration.js';
import type { RaftCore } from './core.js';
import { RaftError } from './errors.js';
import { isLocal, isLogSlice, isResponse } from './message.js';
import type { ConfState, Message } from './types.js';

/**
 * Why a message is not let in; `undefined` when it is. What comes from others may be damaged or foreign, and must not be
 * able to stop this peer: it is refused here, before anything has changed.
 */
export function refuseMessage(core: RaftCore, message: Message): RaftError | undefined {
  const { type, from, entries, snapshot } = message;
  if (isLocal(type) && from !== core.id) {
    return new RaftError('local-message', `${type} can only come from the peer's own host`);
  }
  if (isResponse(type) && !core.progress.has(from)) {
    return new RaftError('peer-not-found', 'raft: cannot step as peer not found');
  }
  if (type === 'propose' && entries.length === 0) return malformed('a proposal holds at least one entry');
  if (type === 'appendEntries' && entries.length > 0) {
    const term = message.term === 0 ? core.term : message.term;
    if (!isLogSlice(term, message.index, message.logTerm, entries)) {
      return malformed(`the entries behind ${message.index} are no run of a log`);
    }
  }
  if (type === 'installSnapshot') {
    if (snapshot === undefined) return malformed('a snapshot message holds a snapshot');
    if (!isMembership(snapshot.confState)) {
      return malformed(`the snapshot at ${snapshot.index} holds a membership that cannot be`);
    }
  }
  return undefined;
}

/** No learner votes, and only those of the outgoing half are to become learners. */
function isMembership(state: ConfState): boolean {
  const configuration = restoreConfiguration(state);
  return !(configuration instanceof RaftError) && sameConfState(state, toConfState(configuration));
}

function malformed(sentence: string): RaftError {
  return new RaftError('malformed-message', `${sentence}: look at the peer that sent it`);
}
