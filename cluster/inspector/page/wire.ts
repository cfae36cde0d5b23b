/** What the server sends. It is this page's own server: the shapes are those of cluster/inspector/views.ts. */

import type {
  OperatorItem,
  RaftItem,
  RegionItem,
  RegionPeerItem,
  StoreItem,
} from '../../inspection/items.js';
import type { HeatColumn, HeatRow } from '../heat-map.js';
import type { TxnStep } from '../transactions.js';

export type { RegionPeerItem as Peer, TxnStep };

export interface Summary {
  readonly cluster: string;
  readonly canKill: boolean;
  readonly perSecond: number;
  readonly leftOutPerSecond: number;
  readonly now: number;
  readonly nodes: readonly { readonly node: string; readonly silent: boolean; readonly lost: number }[];
  readonly regions: number;
  readonly stores: number;
  readonly operators: number;
  readonly actors: number;
  readonly letters: number;
  readonly transactions: number;
  readonly halted: boolean;
  readonly schedulers: readonly { readonly name: string; readonly pausedUntil: number }[];
}

export interface Store extends StoreItem {
  readonly silent: boolean;
}

export interface Region extends Omit<RegionItem, 'startHex'> {
  /** The step under way. */
  readonly operator?: string;
}

export interface ClusterView {
  readonly stores: readonly Store[];
  readonly total: number;
  readonly offset: number;
  readonly regions: readonly Region[];
  readonly strip: readonly {
    readonly leader: number;
    readonly regions: number;
    readonly trouble: boolean;
    readonly busy: number;
  }[];
  readonly operators: readonly OperatorItem[];
  readonly moments: readonly { readonly at: number; readonly text: string }[];
}

export interface Member extends Omit<RaftItem, 'region'> {
  readonly node: string;
  readonly store: number;
  readonly silent: boolean;
  readonly value: unknown;
  readonly active: readonly string[];
  readonly history: readonly { readonly at: number; readonly term: number; readonly role: string }[];
}

export interface RaftView {
  readonly total: number;
  readonly regions: readonly { readonly id: number; readonly start: string; readonly end: string }[];
  readonly region: number;
  readonly start: string;
  readonly end: string;
  readonly epoch: string;
  readonly members: readonly Member[];
}

export interface Transition {
  readonly source: string;
  readonly event: string;
  readonly targets: readonly string[];
  readonly guard?: string;
}

export interface Step {
  readonly number: number;
  readonly at: number;
  readonly event: string;
  readonly detail?: unknown;
  readonly source?: string;
  readonly actions: readonly string[];
  readonly transitions: readonly Transition[];
  readonly refused: readonly Transition[];
  readonly value?: unknown;
  readonly status: string;
  readonly context?: unknown;
  readonly child?: string;
  readonly active: readonly string[];
}

export interface ActorsView {
  readonly total: number;
  readonly offset: number;
  readonly actors: readonly {
    readonly address: string;
    readonly machine: string;
    readonly value: unknown;
    readonly status: string;
    readonly queued: number;
    readonly restarts: number;
  }[];
  readonly selected?: {
    readonly address: string;
    readonly machine: string;
    readonly drawn: boolean;
    readonly known: boolean;
    readonly queued: number;
    readonly restarts: number;
    readonly status: string;
    readonly steps: readonly Step[];
  };
}

export interface TransactionsView {
  readonly total: number;
  readonly transactions: readonly {
    readonly startTs: string;
    readonly began: number;
    readonly last: number;
    readonly outcome: string;
    readonly regions: number;
    readonly steps: number;
    readonly key: string;
  }[];
  readonly selected?: {
    readonly startTs: string;
    readonly began: number;
    readonly last: number;
    readonly outcome: string;
    readonly regions: readonly number[];
    readonly steps: readonly TxnStep[];
  };
}

export interface LettersView {
  readonly letters: readonly {
    readonly at: number;
    readonly node: string;
    readonly reason: string;
    readonly from: string;
    readonly to: string;
    readonly event: string;
    readonly detail: string;
  }[];
}

export interface HeatView {
  readonly rows: readonly HeatRow[];
  readonly columns: readonly HeatColumn[];
}

export type Query = Readonly<Record<string, string | number>>;
