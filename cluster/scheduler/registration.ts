import { metapb } from '../../storage/proto/index.js';
import { pdpb } from '../proto/index.js';

/** A refused request: PD's kind of error, and one sentence that says what to do. */
export interface Refusal {
  readonly type: pdpb.ErrorType;
  readonly message: string;
}

export type Registration =
  | { readonly ok: true; readonly store: metapb.Store }
  | { readonly ok: false; readonly refusal: Refusal };

/** Stores ever registered at most; their records are kept for good, so that no id comes back, and fit one message. */
const MAX_STORES = 1_000;

/**
 * Whether a node may be the store that it says it is, and the record to keep of it.
 *
 * A name, a store id and a data directory belong together for good: a store that forgot its votes must not come back
 * under its old id. A record is `Preparing` until the store has shown that its directory carries the id; only until
 * then may an empty directory take the name again, because nothing depends on such a store yet.
 */
export function register(stores: ReadonlyMap<number, metapb.Store>, asked: metapb.Store): Registration {
  const named = byName(stores, asked.address);
  if (asked.id === 0) return registerEmpty(stores, asked, named);
  const known = stores.get(asked.id);
  if (known === undefined) {
    return identity(
      `The data directory of "${asked.address}" says store ${asked.id}, which this cluster never had: start it in its own cluster, or with an empty directory and a new name.`,
    );
  }
  if (known.address !== asked.address) {
    return identity(
      `The data directory belongs to store ${known.id}, "${known.address}": start it under that name, or start "${asked.address}" with ${named === undefined ? 'an empty directory' : 'its own directory'}.`,
    );
  }
  if (known.state === metapb.StoreState.Tombstone) return retired(known);
  if (asked.incarnation < known.incarnation) return overtaken(known);
  const { state } = known;
  const nodeState =
    state === metapb.StoreState.Offline ? metapb.NodeState.Removing : metapb.NodeState.Serving;
  return { ok: true, store: { ...asked, labels: mergedLabels(known, asked), state, nodeState } };
}

function registerEmpty(
  stores: ReadonlyMap<number, metapb.Store>,
  asked: metapb.Store,
  known: metapb.Store | undefined,
): Registration {
  const state = metapb.StoreState.Up;
  const nodeState = metapb.NodeState.Preparing;
  if (known === undefined) {
    if (stores.size >= MAX_STORES) {
      const message = `The cluster has had ${MAX_STORES} stores, which is the most it keeps records of.`;
      return { ok: false, refusal: { type: pdpb.ErrorType.INVALID_VALUE, message } };
    }
    return { ok: true, store: { ...asked, id: freeId(stores, asked.address), state, nodeState } };
  }
  if (known.state === metapb.StoreState.Tombstone) return retired(known);
  if (known.nodeState !== metapb.NodeState.Preparing) {
    return identity(
      `The name "${known.address}" belongs to store ${known.id}, but the data directory is empty: start it with the directory of store ${known.id}, or give the new store a new name.`,
    );
  }
  if (asked.incarnation < known.incarnation) return overtaken(known);
  return { ok: true, store: { ...asked, id: known.id, state, nodeState } };
}

/** What a store says of itself counts before what others have said of it. */
function mergedLabels(known: metapb.Store, { labels }: metapb.Store): metapb.StoreLabel[] {
  return [...known.labels.filter(({ key }) => !labels.some((label) => label.key === key)), ...labels];
}

export function overtaken(known: metapb.Store): { ok: false; refusal: Refusal } {
  return identity(
    `Another process has started as "${known.address}" since: only one may run under a name, so this one must stop.`,
  );
}

/** For a store that was drained. */
export function retired(known: metapb.Store): { ok: false; refusal: Refusal } {
  const message = `Store ${known.id} ("${known.address}") was removed from the cluster for good: use an empty directory and a new name.`;
  return { ok: false, refusal: { type: pdpb.ErrorType.STORE_TOMBSTONE, message } };
}

function identity(message: string): { ok: false; refusal: Refusal } {
  return { ok: false, refusal: { type: pdpb.ErrorType.IDENTITY_MISMATCH, message } };
}

export function byName(stores: ReadonlyMap<number, metapb.Store>, name: string): metapb.Store | undefined {
  for (const store of stores.values()) if (store.address === name) return store;
  return undefined;
}

/** People expect store 2 behind the name `store-2`: a name's number is its id while nobody has had it. */
function freeId(stores: ReadonlyMap<number, metapb.Store>, name: string): number {
  const wanted = Number(/-([1-9]\d{0,3})$/.exec(name)?.[1] ?? 0);
  if (wanted > 0 && !stores.has(wanted)) return wanted;
  let id = 1;
  for (const known of stores.keys()) if (known >= id) id = known + 1;
  return id;
}
