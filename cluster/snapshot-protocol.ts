/** The messages by which stores carry snapshots: cluster/proto/snapshotpb.proto as events. */
import type { Codec, WireEvent } from '../actors/index.js';
import { compareBytes } from '../storage/keys.js';
import {
  DecodeError,
  decodeRaftEvent,
  encodeRaftEvent,
  type metapb,
  type RaftEvent,
  raft_serverpb,
} from '../storage/proto/index.js';
import { snapshotpb } from './proto/index.js';

export type TransferId = snapshotpb.TransferId;

/** Every message names its transfer; what does not is malformed. */
type Of<K extends string, M> = { readonly type: K; readonly transfer: TransferId } & Omit<M, 'transfer'>;

/** The proto's message, with the Raft message and the region that its data describes taken apart and checked. */
export interface SnapshotOffer {
  readonly type: 'snapshot.offer';
  readonly transfer: TransferId;
  readonly attempt: number;
  /** Carries `installSnapshot`. */
  readonly raft: RaftEvent;
  /** As the snapshot has it. */
  readonly region: metapb.Region;
  readonly estimatedBytes: number;
  readonly maxBytes: number;
}

export type SnapshotAnswer = Of<'snapshot.answer', snapshotpb.Answer>;
export type SnapshotCredit = Of<'snapshot.credit', snapshotpb.Credit>;
export type SnapshotFinish = Of<'snapshot.finish', snapshotpb.Finish>;
export type SnapshotResult = Of<'snapshot.result', snapshotpb.Result>;
export type SnapshotCancel = Of<'snapshot.cancel', snapshotpb.Cancel>;

/** What one store tells the other about a transfer. */
export type SnapshotEvent =
  | SnapshotOffer
  | SnapshotAnswer
  | SnapshotCredit
  | SnapshotFinish
  | SnapshotResult
  | SnapshotCancel;

const LANES = ['peer'] as const;

/** By kind. None of them is asked: whatever is lost is said again. */
export const snapshotCodecs: readonly (readonly [string, Codec])[] = [
  ['snapshot.offer', { encode: encodeOffer, decode: decodeOffer, lanes: LANES } as Codec],
  row('snapshot.answer', snapshotpb.Answer),
  row('snapshot.credit', snapshotpb.Credit),
  row('snapshot.finish', snapshotpb.Finish),
  row('snapshot.result', snapshotpb.Result),
  row('snapshot.cancel', snapshotpb.Cancel),
];

function row<M extends { readonly transfer?: TransferId | undefined }>(
  type: SnapshotEvent['type'],
  message: { encode(value: M): Uint8Array; decode(body: Uint8Array): M },
): readonly [string, Codec] {
  const codec: Codec<WireEvent & M> = {
    encode: (event) => message.encode(event),
    decode(body) {
      const value = message.decode(body);
      if (value.transfer === undefined) throw new DecodeError('malformed', `a ${type} of no transfer`);
      return { ...value, type };
    },
    lanes: LANES,
  };
  return [type, codec as Codec];
}

function encodeOffer({ transfer, attempt, raft, estimatedBytes, maxBytes }: SnapshotOffer): Uint8Array {
  const raftMessage = encodeRaftEvent(raft);
  return snapshotpb.Offer.encode({ transfer, attempt, raftMessage, estimatedBytes, maxBytes });
}

function decodeOffer(body: Uint8Array): SnapshotOffer {
  const { transfer, attempt, raftMessage, estimatedBytes, maxBytes } = snapshotpb.Offer.decode(body);
  if (transfer === undefined) throw new DecodeError('malformed', 'an offer of no transfer');
  const raft = decodeRaftEvent(raftMessage);
  const region = checkedRegion(raft);
  return { type: 'snapshot.offer', transfer, attempt, raft, region, estimatedBytes, maxBytes };
}

/** The region that the snapshot in the message describes. */
function checkedRegion({ regionId, fromPeer, toPeer, message }: RaftEvent): metapb.Region {
  const { snapshot } = message;
  if (message.type !== 'installSnapshot' || snapshot === undefined) {
    throw new DecodeError('malformed', `an offer with a message of type ${message.type}`);
  }
  const { region } = raft_serverpb.RaftSnapshotData.decode(snapshot.data);
  if (region?.regionEpoch === undefined || region.id !== regionId || regionId === 0) {
    throw new DecodeError('malformed', `a snapshot that is not one of region ${regionId}`);
  }
  const { startKey, endKey } = region;
  if (endKey.length > 0 && compareBytes(startKey, endKey) >= 0) {
    throw new DecodeError('malformed', `region ${regionId} ends before it starts`);
  }
  if (message.to !== toPeer.id || message.from !== fromPeer.id || toPeer.id === 0) {
    throw new DecodeError('malformed', 'the peers of the message are not those around it');
  }
  if (snapshot.index === 0 || snapshot.term === 0 || snapshot.term > message.term) {
    throw new DecodeError('malformed', `a snapshot at index ${snapshot.index} of term ${snapshot.term}`);
  }
  return region;
}
