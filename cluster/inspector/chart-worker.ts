/** Draws charts beside the loop: the layout of a large one takes seconds. */

import { parentPort } from 'node:worker_threads';
import type { Chart } from '../charts/model.js';
import { liveSvgOf } from '../charts/svg.js';

export interface DrawingOrder {
  readonly number: number;
  readonly chart: Chart;
}

export interface Drawing {
  readonly number: number;
  /** Absent when no place was found for everything. */
  readonly svg?: string;
}

parentPort?.on('message', ({ number, chart }: DrawingOrder) => {
  const answer = (drawing: Drawing): void => parentPort?.postMessage(drawing);
  liveSvgOf(chart).then(
    (svg) => answer({ number, svg }),
    () => answer({ number }),
  );
});
