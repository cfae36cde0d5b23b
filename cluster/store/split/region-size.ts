import type { SplitLimits } from '../../../storage/index.js';

/** Bytes of keys and values, and number of pairs. */
export interface Size {
  readonly bytes: number;
  readonly keys: number;
}

/** What was changed so far. */
interface Changes {
  puts: number;
  putBytes: number;
  deletions: number;
  deletedBytes: number;
  rangeDeletions: number;
}

/** A moment in a region's life, between two changes. */
export interface SizeMark extends Readonly<Changes> {
  /** Splits, merges and snapshots so far. */
  readonly era: number;
}

interface Known {
  readonly size: Size;
  /** What it can be at most: differs from `size` when that is a guess. */
  readonly ceiling: Size;
  /** From reading all of the region. */
  readonly scanned: boolean;
  /** When it was so. */
  readonly at: Readonly<Changes>;
}

const NO_CHANGES: Readonly<Changes> = {
  puts: 0,
  putBytes: 0,
  deletions: 0,
  deletedBytes: 0,
  rangeDeletions: 0,
};

/** A region is looked at when a sixteenth of a part was written (TiKV's `region-split-check-diff`). */
const CHECKS_PER_PART = 16;
/** Doublings from that to a whole part. */
const MOST_IN_VAIN = Math.log2(CHECKS_PER_PART);
/** A region is counted anew when a quarter of a part was deleted. */
const RECOUNTS_PER_PART = 4;

/**
 * Size of one region on one replica, which follows what is applied. Every replica keeps it, so that a new leader knows
 * it too.
 *
 * It is a hint. A put counts as a new key, although it may replace one; a deletion counts as a key of mean size, although
 * there may be none. So the estimate is accompanied by what the region can be at most, which deletions do not lower. A
 * scan sets both right. After a split, a merge or a snapshot both are rougher still, and the region is due for a check.
 */
export class RegionSize {
  #known: Known | undefined;
  #changes: Changes = { ...NO_CHANGES };
  /** `#changes` at the last check. */
  #checked: Readonly<Changes> = NO_CHANGES;
  /** `#changes` at the last scan. */
  #counted: Readonly<Changes> = NO_CHANGES;
  /** A check is due whatever was written. */
  #due = true;
  #era = 0;
  /** Scans after which the region, which had seemed too large, was left as it is. */
  #inVain = 0;

  /** Bytes, estimated; `undefined` while nothing is known. */
  get bytes(): number | undefined {
    return this.#estimate()?.bytes;
  }

  /** Pairs in all families, estimated; `undefined` while nothing is known. */
  get keys(): number | undefined {
    return this.#estimate()?.keys;
  }

  /** Whether it comes from reading the region, and what was applied since. */
  get scanned(): boolean {
    return this.#known?.scanned ?? false;
  }

  /** A put was applied. @param bytes of its key and value, as they are stored */
  put(bytes: number): void {
    this.#changes.puts++;
    this.#changes.putBytes += bytes;
  }

  /** A deletion was applied. @param bytes of key and value, where they are known; else those of a mean pair */
  deleted(bytes?: number): void {
    this.#changes.deletedBytes += bytes ?? this.#meanBytes();
    this.#changes.deletions++;
  }

  /** All keys in a range were deleted: how many is not known. */
  rangeDeleted(): void {
    this.#changes.rangeDeletions++;
  }

  /**
   * The region was split: this one and the others returned are its parts, each with an equal share, since nobody knows
   * better. Each is due for a check.
   * @param parts how many there are now, this one included
   */
  divide(parts: number): RegionSize[] {
    const others = Array.from({ length: parts - 1 }, () => new RegionSize());
    const whole = this.#estimate();
    const ceiling = this.#ceiling();
    for (const part of [this, ...others]) {
      if (whole === undefined || ceiling === undefined) part.unknown();
      else part.#begin({ bytes: whole.bytes / parts, keys: whole.keys / parts }, ceiling);
    }
    return others;
  }

  /** The region has taken another one in. */
  merge(other: RegionSize): void {
    const [size, ceiling] = [this.#estimate(), this.#ceiling()];
    const [otherSize, otherCeiling] = [other.#estimate(), other.#ceiling()];
    if (size && ceiling && otherSize && otherCeiling) {
      this.#begin(sum(size, otherSize), sum(ceiling, otherCeiling));
    } else this.unknown();
  }

  /** A snapshot has taken the place of the data, or the store has started. */
  unknown(): void {
    this.#begin(undefined, undefined);
  }

  /** The present moment, for `set`: to be taken together with the view that is scanned. */
  mark(): SizeMark {
    return { era: this.#era, ...this.#changes };
  }

  /**
   * A scan has found out what the region was at `mark`: what was applied since is added.
   * @param mark the present moment by default
   * @returns false, and changes nothing, when the region was split or merged or got a snapshot since
   */
  set(bytes: number, keys: number, mark: SizeMark = this.mark()): boolean {
    if (mark.era !== this.#era) return false;
    const size = { bytes, keys };
    this.#known = { size, ceiling: size, scanned: true, at: mark };
    this.#counted = mark;
    return true;
  }

  /** The size as the engine guesses it, and by how much it may be larger. */
  guess(size: Size, margin: Size): void {
    this.#known = { size, ceiling: sum(size, margin), scanned: false, at: { ...this.#changes } };
  }

  /** Whether the region seems to be larger than it is allowed to be. */
  exceeds(limits: SplitLimits): boolean {
    return isAbove(this.#estimate(), limits);
  }

  /** Whether it may be, for all that is known. */
  mayExceed(limits: SplitLimits): boolean {
    return this.#known === undefined || isAbove(this.#ceiling(), limits);
  }

  /**
   * Whether to look for a place to split: always where nothing has looked since a split, a merge, a snapshot or the start.
   * Else when a sixteenth of a part was written since the last check and the region seems to be too large, or may be as
   * far as a guess goes. Where keys are overwritten again and again, a region seems too large for ever: with each scan in
   * vain the sixteenth doubles, up to a whole part. And when a whole part was written, and the region may be too large
   * if what was deleted was not there.
   */
  due(limits: SplitLimits): boolean {
    if (this.#due) return true;
    if (!this.mayExceed(limits)) return false;
    const counted = this.scanned && !this.exceeds(limits);
    return this.#wrote(counted ? 1 : 2 ** this.#inVain / CHECKS_PER_PART, limits);
  }

  /** Whether so much was deleted since the last scan that the estimate is worth little: merges depend on it. */
  wantsRecount({ splitBytes, splitKeys }: SplitLimits): boolean {
    const counted = this.#counted;
    return (
      this.#changes.rangeDeletions > counted.rangeDeletions ||
      this.#changes.deletedBytes - counted.deletedBytes >= splitBytes / RECOUNTS_PER_PART ||
      this.#changes.deletions - counted.deletions >= splitKeys / RECOUNTS_PER_PART
    );
  }

  /**
   * A check has found no place to split.
   * @param inVain the whole region was read for it, because it seemed to be too large
   */
  checked(inVain: boolean): void {
    this.#due = false;
    this.#checked = { ...this.#changes };
    if (inVain) this.#inVain = Math.min(MOST_IN_VAIN, this.#inVain + 1);
  }

  #wrote(parts: number, { splitBytes, splitKeys }: SplitLimits): boolean {
    const bytes = this.#changes.putBytes - this.#checked.putBytes;
    const keys = this.#changes.puts - this.#checked.puts;
    return bytes >= Math.max(1, splitBytes * parts) || keys >= Math.max(1, splitKeys * parts);
  }

  #begin(size: Size | undefined, ceiling: Size | undefined): void {
    this.#era++;
    this.#changes = { ...NO_CHANGES };
    this.#checked = NO_CHANGES;
    this.#counted = NO_CHANGES;
    this.#known =
      size === undefined || ceiling === undefined
        ? undefined
        : { size, ceiling, scanned: false, at: NO_CHANGES };
    this.#due = true;
    this.#inVain = 0;
  }

  #estimate(): Size | undefined {
    if (this.#known === undefined) return undefined;
    const bytes = Math.max(0, Math.round(this.#bytesOf(this.#known)));
    return { bytes, keys: Math.max(0, Math.round(this.#keysOf(this.#known))) };
  }

  #ceiling(): Size | undefined {
    if (this.#known === undefined) return undefined;
    const { ceiling, at } = this.#known;
    const { puts, putBytes } = this.#changes;
    return { bytes: ceiling.bytes + putBytes - at.putBytes, keys: ceiling.keys + puts - at.puts };
  }

  #bytesOf({ size, at }: Known): number {
    const { putBytes, deletedBytes } = this.#changes;
    return size.bytes + (putBytes - at.putBytes) - (deletedBytes - at.deletedBytes);
  }

  #keysOf({ size, at }: Known): number {
    const { puts, deletions } = this.#changes;
    return size.keys + (puts - at.puts) - (deletions - at.deletions);
  }

  #meanBytes(): number {
    if (this.#known === undefined) return 0;
    const keys = this.#keysOf(this.#known);
    return keys > 0 ? Math.max(0, this.#bytesOf(this.#known)) / keys : 0;
  }
}

function isAbove(size: Size | undefined, { maxBytes, maxKeys }: SplitLimits): boolean {
  return size !== undefined && (size.bytes > maxBytes || size.keys > maxKeys);
}

function sum(a: Size, b: Size): Size {
  return { bytes: a.bytes + b.bytes, keys: a.keys + b.keys };
}
