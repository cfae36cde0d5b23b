import { NO_BYTES } from './conf-change.js';
import { NO_ENTRIES } from './entry-cache.js';
import type { Entry, Message, MessageType } from './types.js';

/** A message in the making. */
export type MessageDraft = { -readonly [Field in keyof Message]: Message[Field] };

/** Every field is set here and in this order, so that all messages share one hidden class. */
export function draftMessage(type: MessageType, from: number, to: number, term: number): MessageDraft {
  return {
    type,
    to,
    from,
    term,
    logTerm: 0,
    index: 0,
    entries: NO_ENTRIES,
    commit: 0,
    vote: 0,
    reject: false,
    rejectHint: 0,
    context: NO_BYTES,
    snapshot: undefined,
  };
}

/** A whole message from the fields that matter. */
export function makeMessage(fields: Partial<Message> & Pick<Message, 'type'>): Message {
  return Object.assign(draftMessage(fields.type, 0, 0, 0), fields);
}

/** Acknowledgements that only the peer's own host gives. */
export function isLocal(type: MessageType): boolean {
  return type === 'entriesPersisted' || type === 'entriesApplied';
}

/** Answers, which only members may give. */
export function isResponse(type: MessageType): boolean {
  switch (type) {
    case 'appendEntriesResponse':
    case 'requestVoteResponse':
    case 'requestPreVoteResponse':
    case 'heartbeatResponse':
    case 'readIndexResponse':
      return true;
    default:
      return false;
  }
}

/** Promises that may leave only when what they promise is on disk. */
export function dependsOnDisk(type: MessageType): boolean {
  return (
    type === 'appendEntriesResponse' || type === 'requestVoteResponse' || type === 'requestPreVoteResponse'
  );
}

/** What a leader of the term sends: whoever gets it knows its leader. */
export function comesFromLeader(type: MessageType): boolean {
  return type === 'appendEntries' || type === 'heartbeat' || type === 'installSnapshot';
}

/** Whether the message of a leader at `term` carries a run of log entries behind (`prevIndex`, `prevTerm`). */
export function isLogSlice(
  term: number,
  prevIndex: number,
  prevTerm: number,
  entries: readonly Entry[],
): boolean {
  let index = prevIndex;
  let last = prevTerm;
  for (let i = 0; i < entries.length; i++) {
    const entry = entries[i] as Entry;
    if (entry.index !== ++index || entry.term < last) return false;
    last = entry.term;
  }
  return term >= last;
}

const TRANSFER_MARKER = Uint8Array.from('CampaignTransfer', (letter) => letter.charCodeAt(0));

/** Context of a vote request that a leader asked for: voters grant it although they hear from that leader. */
export function transferMarker(): Uint8Array {
  return TRANSFER_MARKER;
}

export function isTransferMarker(context: Uint8Array): boolean {
  if (context.length !== TRANSFER_MARKER.length) return false;
  return context.every((byte, i) => byte === TRANSFER_MARKER[i]);
}
