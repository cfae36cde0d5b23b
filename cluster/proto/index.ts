/** The schema of what nodes and clients send each other. */
export * as errorpb from './generated.errorpb.js';
export * as kvrpcpb from './generated.kvrpcpb.js';
export * as pdpb from './generated.pdpb.js';
export * as snapshotpb from './generated.snapshotpb.js';
export * as troupepb from './generated.troupepb.js';
export {
  decodeRegionRequests,
  decodeRegionResponses,
  encodeRegionRequests,
  encodeRegionResponses,
  type RegionBatch,
} from './region-codec.js';
