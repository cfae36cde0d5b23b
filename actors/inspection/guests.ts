/** Machines that run outside of a node's actors, and are shown among them. */

import type { AnyActorRef, InspectionEvent as XStateInspectionEvent } from 'xstate';
import { observe } from '../xstate-port.js';
import { type Looked, StepGatherer } from './steps.js';

/** A machine that runs outside of the node's actors, and is shown among them. */
export interface Guest {
  readonly path: string;
  readonly actor: AnyActorRef;
  /** Makes it take every event by way of XState, or no longer: one that has a shorter way for what changes nothing. */
  readonly showAll?: (all: boolean) => void;
}

export interface GuestsParts {
  /** How much of what is at a path somebody is shown: see `CellHost.shows`. */
  readonly depthOf: (path: string) => number | undefined;
  /** A guest was not there before. */
  readonly came: (path: string) => void;
  /** It is another now, or nobody looks at it any more. */
  readonly forgotten: (path: string) => void;
  /** It is not there any more. */
  readonly went: (path: string) => void;
  /** On the stack of the machine itself. */
  readonly machine: (path: string, looked: Looked, event: XStateInspectionEvent) => void;
}

interface Hosted extends Looked {
  readonly guest: Guest;
  readonly stop: () => void;
  round: number;
}

/** The guests that somebody looks at. */
export class Guests {
  readonly #parts: GuestsParts;
  readonly #hosted = new Map<string, Hosted>();
  readonly #sources: (() => Iterable<Guest>)[] = [];
  #round = 0;

  constructor(parts: GuestsParts) {
    this.#parts = parts;
  }

  /** @param guests is asked only while somebody looks */
  add(guests: () => Iterable<Guest>): void {
    this.#sources.push(guests);
  }

  get paths(): Iterable<string> {
    return this.#hosted.keys();
  }

  actor(path: string): AnyActorRef | undefined {
    return this.#hosted.get(path)?.guest.actor;
  }

  /** Others look, or at something else. */
  depthsChanged(): void {
    for (const [path, looked] of [...this.#hosted]) {
      const depth = this.#parts.depthOf(path);
      if (depth === undefined) {
        this.#forget(path);
        continue;
      }
      looked.depth = depth;
      looked.guest.showAll?.(depth === 1);
    }
  }

  /** Looks who has come and who has gone. */
  find(): void {
    const { depthOf, came, went, machine } = this.#parts;
    const round = ++this.#round;
    for (const source of this.#sources) {
      for (const guest of source()) {
        const { path, actor } = guest;
        const known = this.#hosted.get(path);
        if (known?.guest.actor === actor) {
          known.round = round;
          continue;
        }
        if (known !== undefined) this.#forget(path);
        const depth = depthOf(path);
        if (depth === undefined) continue;
        const gatherer = new StepGatherer();
        gatherer.begin(actor, actor.getSnapshot());
        const looked: Hosted = {
          guest,
          gatherer,
          depth,
          sampled: false,
          round,
          stop: observe(actor, (event) => machine(path, looked, event)),
        };
        guest.showAll?.(depth === 1);
        this.#hosted.set(path, looked);
        came(path);
      }
    }
    for (const [path, looked] of this.#hosted) {
      if (looked.round === round) continue;
      this.#forget(path);
      went(path);
    }
  }

  /** Nobody looks any more. */
  clear(): void {
    for (const path of [...this.#hosted.keys()]) this.#forget(path);
  }

  #forget(path: string): void {
    const hosted = this.#hosted.get(path);
    hosted?.stop();
    hosted?.guest.showAll?.(false);
    this.#hosted.delete(path);
    this.#parts.forgotten(path);
  }
}
