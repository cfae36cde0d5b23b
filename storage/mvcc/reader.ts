import type { Engine, EngineSnapshot } from '../engine.js';

/** Reads of one turn, all from one snapshot of the engine; the snapshot's owner releases it. */
export class MvccReader {
  constructor(
    readonly engine: Engine,
    readonly snapshot: EngineSnapshot,
  ) {}
}
