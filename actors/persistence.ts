import type { AnyEventObject } from 'xstate';
import type { Restorable } from './xstate-port.js';

/**
 * Where an actor's state outlives it. All of it is called in the actor's own turn, save for `advanced` after a child of
 * the actor has answered.
 *
 * With one, a restart goes on from what `restore` gives, never from the memory that a half-run action has touched.
 */
export interface Persistence {
  /**
   * What the actor goes on from: asked at its start and at every restart.
   * @returns `undefined` for an actor that has no past
   * @throws what keeps it from starting; that counts as a failure of the actor
   */
  restore(): Restorable | undefined;
  /**
   * Asked before a message is handled.
   * @returns false for one that is not to be handled (again); whoever says so answers for it
   */
  admit(event: AnyEventObject): boolean;
  /**
   * The actor has started, or has handled a message, a timer of its own or what a child told it, without failure.
   * @throws what is wrong with the new state; that counts as a failure of the actor
   */
  advanced(step: Step): void;
  /**
   * The actor failed, and what it did since the last `advanced` is void.
   * @param restartIn milliseconds until it is started again; `undefined`: it has stopped for good
   */
  failed(error: unknown, restartIn: number | undefined): void;
}

/** An actor between two messages. */
export interface Step {
  /** XState's snapshot; the same object while nothing has changed. */
  readonly snapshot: unknown;
  /**
   * What `restore` will have to give.
   * @throws what stands in the way
   */
  persist(): Restorable;
  /** Takes what the actor itself has emitted (`emit`) since this was called before. */
  takeEmitted(): readonly AnyEventObject[];
}
