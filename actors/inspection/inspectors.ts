import type { Cell } from '../cell.js';
import type { InspectionEvent, Inspector } from './events.js';

/** Somebody who is shown what happens in actors, and how much of each: see `CellHost.shows`. */
export interface Looking {
  readonly inspector: Inspector;
  readonly depth: (path: string) => number | undefined;
}

export interface InspectorsParts {
  /** The actors of the node. */
  readonly cells: ReadonlyMap<string, Cell>;
  /** Where inspection goes from now on; `undefined` while nobody looks. */
  readonly changed: (inspector: Inspector | undefined) => void;
}

/** Those who look into a node's actors: each event goes to all of them, and costs nothing while there is nobody. */
export class Inspectors {
  /** Cells of which events were not shown since somebody asked. */
  readonly unshown = new Set<Cell>();
  readonly #parts: InspectorsParts;
  #looking: readonly Looking[] = [];

  constructor(parts: InspectorsParts) {
    this.#parts = parts;
  }

  /** @returns how to stop */
  add(looking: Looking): () => void {
    this.#set([...this.#looking, looking]);
    return () => this.#set(this.#looking.filter((other) => other !== looking));
  }

  /** How much of an actor is shown: as much as the most curious of them wants. */
  shows(path: string): number | undefined {
    let least: number | undefined;
    for (const { depth } of this.#looking) {
      const every = depth(path);
      if (every !== undefined && (least === undefined || least === 0 || (every > 0 && every < least)))
        least = every;
    }
    return least;
  }

  /** Tells how many events of which actors were not shown, each once. */
  takeUnshown(told: (path: string, count: number) => void): void {
    for (const cell of this.unshown) told(cell.options.path, cell.takeUnshown());
    this.unshown.clear();
  }

  #set(looking: readonly Looking[]): void {
    this.#looking = looking;
    const { cells, changed } = this.#parts;
    const wanted = looking.length > 0;
    changed(
      wanted
        ? (event: InspectionEvent) => {
            for (const { inspector } of this.#looking) inspector(event);
          }
        : undefined,
    );
    for (const cell of cells.values()) wanted ? cell.inspect() : cell.uninspect();
    if (!wanted) this.takeUnshown(() => {});
  }
}
