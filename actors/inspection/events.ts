import type { InspectionEvent as XStateInspectionEvent } from 'xstate';

/** What an inspector sees. Nothing is gathered while nobody looks. */
export type InspectionEvent =
  | { readonly type: 'spawned' | 'restarted'; readonly address: string; readonly at: number }
  | { readonly type: 'failed'; readonly address: string; readonly at: number; readonly error: unknown }
  | { readonly type: 'stopped'; readonly address: string; readonly at: number; readonly reason: string }
  /** Everything that XState tells about the actor's machine and its children: events, transitions, snapshots. */
  | {
      readonly type: 'machine';
      readonly address: string;
      readonly at: number;
      readonly event: XStateInspectionEvent;
    };

/** Is told of everything that happens in the actors of a node. */
export type Inspector = (event: InspectionEvent) => void;

/** One local actor at this moment, for tools and specs. */
export interface ActorInfo {
  readonly path: string;
  readonly status: 'starting' | 'active' | 'restarting' | 'stopped';
  /** Messages that wait. */
  readonly queued: number;
  readonly restarts: number;
  /** The id of its machine; absent for other logic. */
  readonly logic: string | undefined;
  /** The machine's current snapshot; `undefined` before its first start. */
  readonly snapshot: unknown;
}
