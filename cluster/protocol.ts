/**
 * The messages between nodes: which kinds there are, what they carry, and on which lanes they may travel.
 *
 * An event is its protobuf message with `type` beside the message's own fields.
 */
import type { Codec, Lane, WireEvent } from '../actors/index.js';
import {
  DecodeError,
  decodeRaftEvent,
  encodeRaftEvent,
  type Codec as MessageCodec,
  type RaftEvent,
  raft_serverpb,
} from '../storage/proto/index.js';
import {
  decodeRegionRequests,
  decodeRegionResponses,
  encodeRegionRequests,
  encodeRegionResponses,
  type kvrpcpb,
  pdpb,
  troupepb,
} from './proto/index.js';
import { snapshotCodecs } from './snapshot-protocol.js';

export type { RaftEvent };

/** One client's requests of one turn for one region: `read` and `write` differ in the path that they take there. */
export interface RegionEvent {
  readonly type: 'read' | 'write';
  readonly context: kvrpcpb.Context;
  readonly requests: readonly troupepb.RegionRequest[];
  /** Of the requests whose client records a trace; absent where there are none. */
  readonly traces?: readonly troupepb.RequestTrace[] | undefined;
}

/** The answer: a region error for all, or one response for each request, in order. */
export type RegionReply = troupepb.RegionResponses;

/** What may be asked of a scheduler (`pd.…`, by its fellows `scheduler.…`) and of a store (`store.…`), and the answers. */
export interface Protocol {
  'pd.getMembers': { request: pdpb.GetMembersRequest; reply: pdpb.GetMembersResponse };
  'pd.bootstrapInfo': { request: pdpb.IsBootstrappedRequest; reply: pdpb.IsBootstrappedResponse };
  'pd.putStore': { request: pdpb.PutStoreRequest; reply: pdpb.PutStoreResponse };
  'pd.allocId': { request: pdpb.AllocIDRequest; reply: pdpb.AllocIDResponse };
  'pd.tso': { request: pdpb.TsoRequest; reply: pdpb.TsoResponse };
  'pd.getStore': { request: pdpb.GetStoreRequest; reply: pdpb.GetStoreResponse };
  'pd.getAllStores': { request: pdpb.GetAllStoresRequest; reply: pdpb.GetAllStoresResponse };
  'pd.getRegion': { request: pdpb.GetRegionRequest; reply: pdpb.GetRegionResponse };
  'pd.getRegionById': { request: pdpb.GetRegionByIDRequest; reply: pdpb.GetRegionResponse };
  'pd.scanRegions': { request: pdpb.ScanRegionsRequest; reply: pdpb.ScanRegionsResponse };
  'pd.storeHeartbeat': { request: pdpb.StoreHeartbeatRequest; reply: pdpb.StoreHeartbeatResponse };
  'pd.regionHeartbeat': { request: pdpb.RegionHeartbeatRequest; reply: pdpb.RegionHeartbeatResponse };
  'pd.askBatchSplit': { request: pdpb.AskBatchSplitRequest; reply: pdpb.AskBatchSplitResponse };
  'pd.reportBatchSplit': { request: pdpb.ReportBatchSplitRequest; reply: pdpb.ReportBatchSplitResponse };
  'pd.reportMerged': { request: pdpb.ReportMergedRequest; reply: pdpb.ReportMergedResponse };
  'pd.getStatus': { request: troupepb.GetStatusRequest; reply: troupepb.GetStatusResponse };
  'pd.getPlacement': { request: troupepb.GetPlacementRequest; reply: troupepb.GetPlacementResponse };
  'pd.steerPlacement': { request: troupepb.SteerPlacementRequest; reply: troupepb.SteerPlacementResponse };
  'pd.getOperators': { request: troupepb.GetOperatorsRequest; reply: troupepb.GetOperatorsResponse };
  'pd.addOperator': { request: troupepb.AddOperatorRequest; reply: troupepb.AddOperatorResponse };
  'pd.cancelOperator': { request: troupepb.CancelOperatorRequest; reply: troupepb.CancelOperatorResponse };
  'pd.findRegions': { request: troupepb.FindRegionsRequest; reply: troupepb.FindRegionsResponse };
  'pd.getGCSafePoint': { request: pdpb.GetGCSafePointRequest; reply: pdpb.GetGCSafePointResponse };
  'pd.updateServiceGCSafePoint': {
    request: pdpb.UpdateServiceGCSafePointRequest;
    reply: pdpb.UpdateServiceGCSafePointResponse;
  };
  'pd.getGcStatus': { request: troupepb.GetGcStatusRequest; reply: troupepb.GetGcStatusResponse };
  'pd.runGc': { request: troupepb.RunGcRequest; reply: troupepb.RunGcResponse };
  'scheduler.join': { request: troupepb.JoinSchedulersRequest; reply: troupepb.JoinSchedulersResponse };
  'store.bootstrapRegion': {
    request: troupepb.BootstrapRegionRequest;
    reply: troupepb.BootstrapRegionResponse;
  };
  'store.checkRegion': { request: troupepb.CheckRegionRequest; reply: troupepb.CheckRegionResponse };
  'store.regionHash': { request: troupepb.RegionHashRequest; reply: troupepb.RegionHashResponse };
  'store.peerTerm': { request: troupepb.PeerTermRequest; reply: troupepb.PeerTermResponse };
  'store.changeRegion': { request: troupepb.ChangeRegionRequest; reply: troupepb.ChangeRegionResponse };
}

/** The event of one of these kinds; without a parameter, of any. */
export type ProtocolEvent<K extends keyof Protocol = keyof Protocol> = {
  [P in K]: { readonly type: P } & Protocol[P]['request'];
}[K];

/** What peers tell each other outside of Raft; it goes to the store, for the peer may not be there. */
export type PeerNotice = { readonly type: 'store.peerNotice' } & Omit<raft_serverpb.RaftMessage, 'message'>;

/** A store's sign of life to a store that it shares regions with. */
export type StoreAlive = { readonly type: 'store.alive' } & troupepb.StoreAlive;

/** What the scheduler wants of a region, between two heartbeats; it says so again until it is done. */
export type RegionOrder = { readonly type: 'store.regionOrder' } & pdpb.RegionHeartbeatResponse;

const SERVERS: readonly Lane[] = ['peer'];
const ANYBODY: readonly Lane[] = ['req', 'peer'];

const rows: { readonly [K in keyof Protocol]: Codec } = {
  'pd.getMembers': row('pd.getMembers', pdpb.GetMembersRequest, pdpb.GetMembersResponse, ANYBODY),
  'pd.bootstrapInfo': row(
    'pd.bootstrapInfo',
    pdpb.IsBootstrappedRequest,
    pdpb.IsBootstrappedResponse,
    ANYBODY,
  ),
  'pd.putStore': row('pd.putStore', pdpb.PutStoreRequest, pdpb.PutStoreResponse, SERVERS),
  'pd.allocId': row('pd.allocId', pdpb.AllocIDRequest, pdpb.AllocIDResponse, SERVERS),
  'pd.tso': row('pd.tso', pdpb.TsoRequest, pdpb.TsoResponse, ANYBODY),
  'pd.getStore': row('pd.getStore', pdpb.GetStoreRequest, pdpb.GetStoreResponse, ANYBODY),
  'pd.getAllStores': row('pd.getAllStores', pdpb.GetAllStoresRequest, pdpb.GetAllStoresResponse, ANYBODY),
  'pd.getRegion': row('pd.getRegion', pdpb.GetRegionRequest, pdpb.GetRegionResponse, ANYBODY),
  'pd.getRegionById': row('pd.getRegionById', pdpb.GetRegionByIDRequest, pdpb.GetRegionResponse, ANYBODY),
  'pd.scanRegions': row('pd.scanRegions', pdpb.ScanRegionsRequest, pdpb.ScanRegionsResponse, ANYBODY),
  'pd.storeHeartbeat': row(
    'pd.storeHeartbeat',
    pdpb.StoreHeartbeatRequest,
    pdpb.StoreHeartbeatResponse,
    SERVERS,
  ),
  'pd.regionHeartbeat': row(
    'pd.regionHeartbeat',
    pdpb.RegionHeartbeatRequest,
    pdpb.RegionHeartbeatResponse,
    SERVERS,
  ),
  'pd.askBatchSplit': row('pd.askBatchSplit', pdpb.AskBatchSplitRequest, pdpb.AskBatchSplitResponse, SERVERS),
  'pd.reportBatchSplit': row(
    'pd.reportBatchSplit',
    pdpb.ReportBatchSplitRequest,
    pdpb.ReportBatchSplitResponse,
    SERVERS,
  ),
  'pd.reportMerged': row('pd.reportMerged', pdpb.ReportMergedRequest, pdpb.ReportMergedResponse, SERVERS),
  'pd.getStatus': row('pd.getStatus', troupepb.GetStatusRequest, troupepb.GetStatusResponse, ANYBODY),
  'pd.getPlacement': row(
    'pd.getPlacement',
    troupepb.GetPlacementRequest,
    troupepb.GetPlacementResponse,
    ANYBODY,
  ),
  'pd.steerPlacement': row(
    'pd.steerPlacement',
    troupepb.SteerPlacementRequest,
    troupepb.SteerPlacementResponse,
    ANYBODY,
  ),
  'pd.getOperators': row(
    'pd.getOperators',
    troupepb.GetOperatorsRequest,
    troupepb.GetOperatorsResponse,
    ANYBODY,
  ),
  'pd.addOperator': row('pd.addOperator', troupepb.AddOperatorRequest, troupepb.AddOperatorResponse, ANYBODY),
  'pd.cancelOperator': row(
    'pd.cancelOperator',
    troupepb.CancelOperatorRequest,
    troupepb.CancelOperatorResponse,
    ANYBODY,
  ),
  'pd.findRegions': row('pd.findRegions', troupepb.FindRegionsRequest, troupepb.FindRegionsResponse, ANYBODY),
  'pd.getGCSafePoint': row(
    'pd.getGCSafePoint',
    pdpb.GetGCSafePointRequest,
    pdpb.GetGCSafePointResponse,
    ANYBODY,
  ),
  'pd.updateServiceGCSafePoint': row(
    'pd.updateServiceGCSafePoint',
    pdpb.UpdateServiceGCSafePointRequest,
    pdpb.UpdateServiceGCSafePointResponse,
    ANYBODY,
  ),
  'pd.getGcStatus': row('pd.getGcStatus', troupepb.GetGcStatusRequest, troupepb.GetGcStatusResponse, ANYBODY),
  'pd.runGc': row('pd.runGc', troupepb.RunGcRequest, troupepb.RunGcResponse, ANYBODY),
  'scheduler.join': row(
    'scheduler.join',
    troupepb.JoinSchedulersRequest,
    troupepb.JoinSchedulersResponse,
    SERVERS,
  ),
  'store.bootstrapRegion': row(
    'store.bootstrapRegion',
    troupepb.BootstrapRegionRequest,
    troupepb.BootstrapRegionResponse,
    SERVERS,
  ),
  'store.checkRegion': row(
    'store.checkRegion',
    troupepb.CheckRegionRequest,
    troupepb.CheckRegionResponse,
    ANYBODY,
  ),
  'store.regionHash': row(
    'store.regionHash',
    troupepb.RegionHashRequest,
    troupepb.RegionHashResponse,
    SERVERS,
  ),
  'store.peerTerm': row('store.peerTerm', troupepb.PeerTermRequest, troupepb.PeerTermResponse, SERVERS),
  'store.changeRegion': row(
    'store.changeRegion',
    troupepb.ChangeRegionRequest,
    troupepb.ChangeRegionResponse,
    ANYBODY,
  ),
};

const raft: Codec<RaftEvent> = { encode: encodeRaftEvent, decode: decodeRaftEvent, lanes: SERVERS };

/** A codec for every kind that a cluster's nodes exchange, for `ActorSystem.registerCodec`. */
export const codecs: ReadonlyMap<string, Codec> = new Map([
  ['raft', raft as Codec],
  ['read', region('read')],
  ['write', region('write')],
  ['store.peerNotice', told('store.peerNotice', raft_serverpb.RaftMessage)],
  ['store.alive', told('store.alive', troupepb.StoreAlive)],
  // Only a scheduler's counts: the store looks at the sender.
  ['store.regionOrder', told('store.regionOrder', pdpb.RegionHeartbeatResponse)],
  ...snapshotCodecs,
  ...Object.entries(rows),
]);

function row<K extends keyof Protocol>(
  type: K,
  request: MessageCodec<Protocol[K]['request']>,
  reply: MessageCodec<Protocol[K]['reply']>,
  lanes: readonly Lane[],
): Codec {
  const codec: Codec<WireEvent & Protocol[K]['request'], Protocol[K]['reply']> = {
    encode: (event) => request.encode(event),
    decode: (body) => ({ ...request.decode(body), type }),
    encodeReply: (value) => reply.encode(value),
    decodeReply: (body) => reply.decode(body),
    lanes,
  };
  return codec as Codec;
}

/** Between servers; nobody answers. */
function told<M>(type: string, message: MessageCodec<M>): Codec {
  const codec: Codec<WireEvent & M> = {
    encode: (event) => message.encode(event),
    decode: (body) => ({ ...message.decode(body), type }),
    lanes: SERVERS,
  };
  return codec as Codec;
}

function region(type: RegionEvent['type']): Codec {
  const codec: Codec<RegionEvent, RegionReply> = {
    encode: encodeRegionRequests,
    decode(body) {
      const { context, requests, traces } = decodeRegionRequests(body);
      if (context === undefined) throw new DecodeError('malformed', `a ${type} without a context`);
      return traces === undefined ? { type, context, requests } : { type, context, requests, traces };
    },
    encodeReply: encodeRegionResponses,
    decodeReply: decodeRegionResponses,
    lanes: ANYBODY,
  };
  return codec as Codec;
}

/** Path of a peer's actor on its store; Raft messages and clients' requests go there. */
export function peerPath(regionId: number, peerId: number): string {
  return `region/${regionId}/peer/${peerId}`;
}
