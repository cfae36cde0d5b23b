import { readEnvelopes } from '../../actors/envelopes.js';
import type { MemoryNetwork } from '../../actors/index.js';
import type { FrameInFlight } from '../../actors/memory-network.js';
import { pdpb } from '../../cluster/proto/index.js';
import { decodeRaftEvent, type RaftEvent } from '../../storage/proto/index.js';
import type { Trace } from './trace.js';

export interface WireListener {
  /** A Raft message leaves a store. */
  readonly raft: (from: string, to: string, event: RaftEvent) => void;
  /** Something is said about a snapshot on its way. */
  readonly snapshot: (from: string, to: string) => void;
  /** A leader tells the scheduler about its region. */
  readonly report: (from: string, heartbeat: pdpb.RegionHeartbeatRequest) => void;
}

/** Puts everything that nodes say to each other into the trace, and reads what the simulation has to know. */
export function listen(network: MemoryNetwork, trace: Trace, listener: WireListener): void {
  network.filter((frame) => {
    trace.bytes(`${frame.from} > ${frame.to}`, frame.bytes);
    if (frame.lane === 'peer') hear(frame, trace, listener);
    else if (trace.verbose) trace.say(`${frame.from} > ${frame.to} ${frame.lane}: ${kinds(frame)}`);
    return true;
  });
  network.trace(({ from, to, lane, bytes }) => {
    trace.bytes(`${from} < ${to}`, bytes);
    if (trace.verbose && lane !== 'peer') trace.say(`${to} hears ${from} (${bytes.length} bytes)`);
  });
}

function hear(
  { from, to, bytes }: FrameInFlight,
  trace: Trace,
  { raft, report, snapshot }: WireListener,
): void {
  for (const { kind, body, tag } of readEnvelopes(bytes)) {
    if (kind === 'raft') {
      const event = decodeRaftEvent(body);
      if (trace.verbose) trace.say(`${from} > ${to}: ${describe(event)}`);
      raft(from, to, event);
    } else if (kind === 'pd.regionHeartbeat') {
      report(from, pdpb.RegionHeartbeatRequest.decode(body));
    } else {
      if (trace.verbose) trace.say(`${from} > ${to}: ${tag} ${kind}`);
      if (kind.startsWith('snapshot.')) snapshot(from, to);
    }
  }
}

function kinds({ bytes, lane }: FrameInFlight): string {
  if (lane === 'bulk') return `${bytes.length} bytes`;
  return readEnvelopes(bytes)
    .map(({ tag, kind, path }) => [tag, kind, path].filter((part) => part !== '').join(' '))
    .join(', ');
}

function describe({ regionId, message }: RaftEvent): string {
  const { type, term, index, logTerm, entries, commit, reject } = message;
  const range = entries.length > 0 ? ` + ${entries.map((entry) => entry.term).join(',')}` : '';
  return `region ${regionId} ${type} term ${term} (${index}, ${logTerm})${range} commit ${commit}${reject ? ' reject' : ''}`;
}
