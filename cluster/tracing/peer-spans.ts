import type { Span } from '@opentelemetry/api';
import type { metapb } from '../../storage/proto/index.js';
import type { RaftEvent, RegionEvent } from '../protocol.js';
import type { RaftGroup } from '../raft/group.js';
import type { CommandLog } from '../raft/state-machine.js';
import type { CallSpans } from './call-spans.js';
import type { StoreTracing, TracedPeer } from './store-tracing.js';

/** A region's replica, as far as its spans tell of it. */
export interface TracedReplica {
  readonly region: metapb.Region;
  readonly peerId: number;
  /** It has what orders its commands. */
  readonly attached: boolean;
  readonly group: CommandLog;
  /** `undefined` where one node orders them alone. */
  readonly raftGroup: RaftGroup | undefined;
}

/** What one peer tells its store's spans of: calls and entries as they come and go. */
export class PeerSpans {
  readonly #tracing: StoreTracing;
  readonly #replica: TracedReplica;

  constructor(tracing: StoreTracing, replica: TracedReplica) {
    this.#tracing = tracing;
    this.#replica = replica;
  }

  /** A call has come. @returns `undefined` where nothing of it is traced */
  receive(event: RegionEvent): CallSpans | undefined {
    return this.#tracing.receive(event, this.#peer);
  }

  /** A message of another peer has come, perhaps with traces of its entries. */
  arrived({ extraCtx, message: { term } }: RaftEvent): void {
    const { raftGroup: group } = this.#replica;
    if (extraCtx === undefined || group === undefined) return;
    this.#tracing.arrived(this.#peer, group.applied, { term, extraCtx });
  }

  /** The log's last index: `proposed` compares it, for a proposal may be refused. */
  get lastIndex(): number | undefined {
    return this.#replica.raftGroup?.raft.lastIndex;
  }

  /** A command was proposed. @param before `lastIndex` as it was then */
  proposed(before: number | undefined, requests: readonly Span[]): void {
    const index = this.lastIndex;
    if (index === undefined || index === before) return;
    this.#tracing.proposed(this.#peer, index, requests);
  }

  /** Reads see what the log says through `index`. */
  applied(index: number): void {
    this.#tracing.applied(this.#replica.region.id, index);
  }

  get #peer(): TracedPeer {
    const { region, peerId, attached } = this.#replica;
    return { regionId: region.id, peerId, term: attached ? this.#replica.group.term : 0 };
  }
}
