/** What stores and schedulers tell inspectors of their state, by topic; and what an inspector makes of what it is told. */

/** Topic `raft`, from stores and schedulers: one replica of one Raft group; that of the schedulers has the region 0. */
export interface RaftItem {
  readonly region: number;
  readonly peer: number;
  readonly role: string;
  readonly term: number;
  /** The peer that leads as far as this one knows; 0 for none. */
  readonly lead: number;
  readonly first: number;
  readonly last: number;
  readonly commit: number;
  readonly applied: number;
  readonly asleep: boolean;
}

export interface RegionPeerItem {
  readonly id: number;
  readonly store: number;
  readonly role: string;
  readonly pending: boolean;
  readonly down: boolean;
}

/** Topic `regions`, from the scheduler that leads. */
export interface RegionItem {
  readonly id: number;
  /** Stored keys, escaped where they are not text. */
  readonly start: string;
  readonly end: string;
  /** The same in hexadecimal, which sorts as the keys do; cut off. */
  readonly startHex: string;
  readonly epoch: string;
  readonly peers: readonly RegionPeerItem[];
  /** Store id; 0 while none is known. */
  readonly leader: number;
  readonly term: number;
  /** Bytes and keys, about. */
  readonly size: number;
  readonly keys: number;
  /** Bytes a second. */
  readonly written: number;
  readonly read: number;
  /** The region's chart: replication, leadership, size, load, operator. */
  readonly state: Readonly<Record<string, string>>;
}

/** Topic `stores`, from the scheduler that leads. */
export interface StoreItem {
  readonly id: number;
  readonly node: string;
  readonly pid: number;
  readonly state: string;
  readonly capacity: number;
  readonly used: number;
  readonly regions: number;
  readonly leaders: number;
}

/** Topic `operators`, from the scheduler that leads. */
export interface OperatorItem {
  readonly region: number;
  readonly kind: string;
  readonly by: string;
  readonly state: string;
  readonly steps: readonly string[];
  readonly step: number;
}

/** Topic `placement`, from the scheduler that leads: one item. */
export interface PlacementItem {
  readonly halted: boolean;
  readonly schedulers: readonly { readonly name: string; readonly pausedUntil: number }[];
}

/** Notes of the topic `txn`, from stores: what was asked of a region for a transaction, and what came of it. */
export interface TxnNote {
  readonly startTs: string;
  readonly region: number;
  readonly what: string;
  readonly keys: number;
  /** The first key, escaped, cut off. */
  readonly key: string;
  readonly primary: boolean;
  readonly commitTs: string;
  readonly outcome: string;
}

type Fields<T> = { readonly [K in keyof T]: (value: unknown) => boolean };

const text = (value: unknown): boolean => typeof value === 'string';
const number = (value: unknown): boolean => typeof value === 'number';
const truth = (value: unknown): boolean => typeof value === 'boolean';
const each =
  (is: (value: unknown) => boolean) =>
  (value: unknown): boolean =>
    Array.isArray(value) && value.every(is);
const shaped =
  <T>(fields: Fields<T>) =>
  (value: unknown): value is T =>
    typeof value === 'object' &&
    value !== null &&
    Object.entries<(one: unknown) => boolean>(fields).every(([name, is]) => is(Reflect.get(value, name)));

const isPeer = shaped<RegionPeerItem>({ id: number, store: number, role: text, pending: truth, down: truth });

export const isRaftItem = shaped<RaftItem>({
  region: number,
  peer: number,
  role: text,
  term: number,
  lead: number,
  first: number,
  last: number,
  commit: number,
  applied: number,
  asleep: truth,
});

export const isRegionItem = shaped<RegionItem>({
  id: number,
  start: text,
  end: text,
  startHex: text,
  epoch: text,
  peers: each(isPeer),
  leader: number,
  term: number,
  size: number,
  keys: number,
  written: number,
  read: number,
  state: (value) => typeof value === 'object' && value !== null && Object.values(value).every(text),
});

export const isStoreItem = shaped<StoreItem>({
  id: number,
  node: text,
  pid: number,
  state: text,
  capacity: number,
  used: number,
  regions: number,
  leaders: number,
});

export const isOperatorItem = shaped<OperatorItem>({
  region: number,
  kind: text,
  by: text,
  state: text,
  steps: each(text),
  step: number,
});

export const isPlacementItem = shaped<PlacementItem>({
  halted: truth,
  schedulers: each(shaped({ name: text, pausedUntil: number })),
});

export const isTxnNote = shaped<TxnNote>({
  startTs: text,
  region: number,
  what: text,
  keys: number,
  key: text,
  primary: truth,
  commitTs: text,
  outcome: text,
});
