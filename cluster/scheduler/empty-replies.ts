import { pdpb, troupepb } from '../proto/index.js';
import type { Protocol } from '../protocol.js';
import type { SchedulerKind } from './service.js';

/** A reply of each kind that holds nothing but its header. */
export const emptyReply: {
  readonly [K in SchedulerKind]: (header: pdpb.ResponseHeader) => Protocol[K]['reply'];
} = {
  'pd.getMembers': (header) => pdpb.GetMembersResponse.from({ header }),
  'pd.bootstrapInfo': (header) => pdpb.IsBootstrappedResponse.from({ header }),
  'pd.putStore': (header) => pdpb.PutStoreResponse.from({ header }),
  'pd.allocId': (header) => pdpb.AllocIDResponse.from({ header }),
  'pd.tso': (header) => pdpb.TsoResponse.from({ header }),
  'pd.getStore': (header) => pdpb.GetStoreResponse.from({ header }),
  'pd.getAllStores': (header) => pdpb.GetAllStoresResponse.from({ header }),
  'pd.getRegion': (header) => pdpb.GetRegionResponse.from({ header }),
  'pd.getRegionById': (header) => pdpb.GetRegionResponse.from({ header }),
  'pd.scanRegions': (header) => pdpb.ScanRegionsResponse.from({ header }),
  'pd.storeHeartbeat': (header) => pdpb.StoreHeartbeatResponse.from({ header }),
  'pd.regionHeartbeat': (header) => pdpb.RegionHeartbeatResponse.from({ header }),
  'pd.askBatchSplit': (header) => pdpb.AskBatchSplitResponse.from({ header }),
  'pd.reportBatchSplit': (header) => pdpb.ReportBatchSplitResponse.from({ header }),
  'pd.reportMerged': (header) => pdpb.ReportMergedResponse.from({ header }),
  'pd.getStatus': (header) => troupepb.GetStatusResponse.from({ header }),
  'pd.getPlacement': (header) => troupepb.GetPlacementResponse.from({ header }),
  'pd.steerPlacement': (header) => troupepb.SteerPlacementResponse.from({ header }),
  'pd.getOperators': (header) => troupepb.GetOperatorsResponse.from({ header }),
  'pd.addOperator': (header) => troupepb.AddOperatorResponse.from({ header }),
  'pd.cancelOperator': (header) => troupepb.CancelOperatorResponse.from({ header }),
  'pd.findRegions': (header) => troupepb.FindRegionsResponse.from({ header }),
  'pd.getGCSafePoint': (header) => pdpb.GetGCSafePointResponse.from({ header }),
  'pd.updateServiceGCSafePoint': (header) => pdpb.UpdateServiceGCSafePointResponse.from({ header }),
  'pd.getGcStatus': (header) => troupepb.GetGcStatusResponse.from({ header }),
  'pd.runGc': (header) => troupepb.RunGcResponse.from({ header }),
};
