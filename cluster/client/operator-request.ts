import { TroupeError } from '../errors.js';
import type { troupepb } from '../proto/index.js';
import { checkIds } from './call-options.js';

/** What is to be done with regions; stores and regions by id. */
export type OperatorRequest =
  | { readonly kind: 'transfer-leader'; readonly region: number; readonly store: number }
  | { readonly kind: 'add-peer'; readonly region: number; readonly store: number }
  | { readonly kind: 'remove-peer'; readonly region: number; readonly store: number }
  | { readonly kind: 'move-peer'; readonly region: number; readonly from: number; readonly to: number }
  /** The region goes into its neighbour. */
  | { readonly kind: 'merge'; readonly region: number; readonly target: number }
  /** At the middle of its data. */
  | { readonly kind: 'split'; readonly region: number }
  /** Spreads the replicas and leaders of these evenly: 1,000 regions at most. */
  | { readonly kind: 'scatter'; readonly regions: readonly number[] };

/** @throws TroupeError `invalid-argument` */
export function operatorBody(request: OperatorRequest): Omit<troupepb.AddOperatorRequest, 'header'> {
  const body = { kind: request.kind, regionIds: [], fromStore: 0, toStore: 0, targetRegion: 0 };
  if (request.kind === 'scatter') {
    checkIds(...request.regions);
    return { ...body, regionIds: [...request.regions] };
  }
  const { kind, region } = request;
  const one = { ...body, regionIds: [region] };
  switch (kind) {
    case 'transfer-leader':
    case 'add-peer':
      checkIds(region, request.store);
      return { ...one, toStore: request.store };
    case 'remove-peer':
      checkIds(region, request.store);
      return { ...one, fromStore: request.store };
    case 'move-peer':
      checkIds(region, request.from, request.to);
      return { ...one, fromStore: request.from, toStore: request.to };
    case 'merge':
      checkIds(region, request.target);
      if (region === request.target)
        throw new TroupeError('invalid-argument', `Region ${region} cannot be merged into itself.`);
      return { ...one, targetRegion: request.target };
    case 'split':
      checkIds(region);
      return one;
  }
}
