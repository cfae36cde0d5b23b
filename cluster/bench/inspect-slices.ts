/** Slices of one load under several conditions: in which order they are taken, and what neighbours say of each other. */

/**
 * How nodes are looked at: they let nobody look (`off`), they would and nobody does (`detached`), and a page is open (`attached`).
 */
export const CONDITIONS = ['off', 'detached', 'attached'] as const;
export type Condition = (typeof CONDITIONS)[number];

export interface Slice {
  readonly condition: Condition;
  readonly putsPerSecond: number;
  /** CPU for a put, µs: of stores, scheduler and nats-server; of the inspector's process; of the clients'. */
  readonly servers: number;
  readonly inspector: number;
  readonly clients: number;
  readonly p99: number;
  /** Records that nodes told, a second. */
  readonly records: number;
  /** The part of all processors that went to other programs, 0 to 1. */
  readonly others: number;
}

/** One slice of each condition, taken one after the other. */
export type Block = readonly Slice[];

export interface Spread {
  readonly median: number;
  readonly quartiles: readonly [number, number];
  readonly count: number;
}

export interface Comparison {
  readonly of: Condition;
  readonly to: Condition;
  readonly puts: Spread;
  /** CPU of the servers for a put. */
  readonly servers: Spread;
  /** The inspector's process included. */
  readonly all: Spread;
}

/**
 * The order of a block's slices, drawn by chance: what comes round again on the machine (a flush, a compaction) meets none of them
 * more often than the others, as it could in a fixed order.
 */
export function shuffled(random: () => number): Condition[] {
  const order = [...CONDITIONS];
  for (let last = order.length - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1));
    const [a, b] = [order[last], order[other]];
    if (a === undefined || b === undefined) continue;
    order[last] = b;
    order[other] = a;
  }
  return order;
}

/** What being looked at costs, and what it costs that somebody could look. */
export function comparisonsOf(blocks: readonly Block[]): Comparison[] {
  return [compare(blocks, 'attached', 'detached'), compare(blocks, 'detached', 'off')];
}

function compare(blocks: readonly Block[], of: Condition, to: Condition): Comparison {
  const ratios = (figure: (slice: Slice) => number): Spread =>
    spreadOf(
      blocks.flatMap((block) => {
        const [one, other] = [find(block, of), find(block, to)];
        return one === undefined || other === undefined ? [] : [figure(one) / figure(other)];
      }),
    );
  return {
    of,
    to,
    puts: ratios(({ putsPerSecond }) => putsPerSecond),
    servers: ratios(({ servers }) => servers),
    all: ratios(({ servers, inspector }) => servers + inspector),
  };
}

function find(block: Block, condition: Condition): Slice | undefined {
  return block.find((slice) => slice.condition === condition);
}

/** The median of one figure over all slices of a condition. */
export function medianOf(
  blocks: readonly Block[],
  condition: Condition,
  figure: (slice: Slice) => number,
): number {
  return spreadOf(blocks.flat().flatMap((slice) => (slice.condition === condition ? [figure(slice)] : [])))
    .median;
}

export function spreadOf(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b);
  return {
    median: quantile(sorted, 0.5),
    quartiles: [quantile(sorted, 0.25), quantile(sorted, 0.75)],
    count: sorted.length,
  };
}

/** Between the two nearest values; not a number where there is none. */
function quantile(sorted: readonly number[], part: number): number {
  const at = (sorted.length - 1) * part;
  const low = sorted[Math.floor(at)] ?? Number.NaN;
  const high = sorted[Math.ceil(at)] ?? Number.NaN;
  return low + (high - low) * (at - Math.floor(at));
}
