import { TroupeError } from '../../errors.js';
import { type PlacementRule, parseRules } from './rules.js';

/** How the scheduler places regions, in PD's names and defaults, and how long it keeps old versions. */
export interface PlacementConfig {
  /** Voters of each region (3). */
  readonly maxReplicas: number;
  /** Labels of stores that tell where they are, the widest first: `zone`, `rack`, `host`. */
  readonly locationLabels: readonly string[];
  /** One of the location labels: two replicas never share a value of it. Empty: they only should not. */
  readonly isolationLevel: string;
  /** Rules for ranges of keys, beside the one that the other settings make. */
  readonly rules: readonly PlacementRule[];
  /** Nothing is checked and nothing is balanced; operators that run go on. */
  readonly haltScheduling: boolean;
  /** Operators at once that move leaders (4), that move replicas (2048), that repair (64), merge (8), or cool (4). */
  readonly leaderScheduleLimit: number;
  readonly regionScheduleLimit: number;
  readonly replicaScheduleLimit: number;
  readonly mergeScheduleLimit: number;
  readonly hotRegionScheduleLimit: number;
  /** Milliseconds of silence after which a store's replicas are replaced (30 minutes). */
  readonly maxStoreDownTime: number;
  /** A region below both is merged into a neighbour: bytes (54 MiB; 0 for never) and keys. */
  readonly maxMergeRegionSize: number;
  readonly maxMergeRegionKeys: number;
  /** Milliseconds for which a region that was split, and every region of a new scheduler, is not merged (1 hour). */
  readonly splitMergeInterval: number;
  /** Peers that may be added to, and removed from, a store in a minute (15), where it has no limit of its own. */
  readonly storeLimit: number;
  /** A store of which more than this part is used takes no replica (0.8). */
  readonly lowSpaceRatio: number;
  /** Replicas of one store that may be behind at once (64), and snapshots that may be under way (64). */
  readonly maxPendingPeerCount: number;
  readonly maxSnapshotCount: number;
  /** Bytes a second from which a region is hot: written (1 MiB), read (4 MiB). */
  readonly hotWriteRate: number;
  readonly hotReadRate: number;
  /** Old versions are removed (true); TiDB's `tidb_gc_enable`, `tidb_gc_life_time` and `tidb_gc_run_interval`. */
  readonly gcEnabled: boolean;
  /** Milliseconds for which an old version is kept at least (10 minutes). */
  readonly gcLifeTime: number;
  /** Milliseconds between two rounds of the collector (10 minutes). */
  readonly gcInterval: number;
}

const MINUTE = 60_000;
const MIB = 1024 * 1024;

export const DEFAULT_CONFIG: PlacementConfig = {
  maxReplicas: 3,
  locationLabels: [],
  isolationLevel: '',
  rules: [],
  haltScheduling: false,
  leaderScheduleLimit: 4,
  regionScheduleLimit: 2048,
  replicaScheduleLimit: 64,
  mergeScheduleLimit: 8,
  hotRegionScheduleLimit: 4,
  maxStoreDownTime: 30 * MINUTE,
  maxMergeRegionSize: 54 * MIB,
  maxMergeRegionKeys: 540_000,
  splitMergeInterval: 60 * MINUTE,
  storeLimit: 15,
  lowSpaceRatio: 0.8,
  maxPendingPeerCount: 64,
  maxSnapshotCount: 64,
  hotWriteRate: MIB,
  hotReadRate: 4 * MIB,
  gcEnabled: true,
  gcLifeTime: 10 * MINUTE,
  gcInterval: 10 * MINUTE,
};

interface Setting<T> {
  /** From what somebody typed. @throws TroupeError `invalid-argument` */
  readonly parse: (text: string) => T;
  readonly print: (value: T) => string;
}

const DURATIONS: readonly (readonly [unit: string, milliseconds: number])[] = [
  ['h', 60 * MINUTE],
  ['m', MINUTE],
  ['s', 1_000],
  ['ms', 1],
];
const SIZES: readonly (readonly [unit: string, bytes: number])[] = [
  ['GiB', 1024 * MIB],
  ['MiB', MIB],
  ['KiB', 1024],
  ['B', 1],
];

const SETTINGS: { readonly [K in keyof PlacementConfig]: Setting<PlacementConfig[K]> } = {
  maxReplicas: whole(1, 15),
  locationLabels: { parse: (text) => words(text), print: (labels) => labels.join(',') },
  isolationLevel: {
    parse: (text) => {
      const [level = '', ...more] = words(text);
      if (more.length > 0) throw wrong(text, 'one of the location labels');
      return level;
    },
    print: (label) => label,
  },
  rules: { parse: parseRules, print: (rules) => JSON.stringify(rules) },
  haltScheduling: either(),
  leaderScheduleLimit: whole(0, 100_000),
  regionScheduleLimit: whole(0, 100_000),
  replicaScheduleLimit: whole(0, 100_000),
  mergeScheduleLimit: whole(0, 100_000),
  hotRegionScheduleLimit: whole(0, 100_000),
  maxStoreDownTime: duration(),
  maxMergeRegionSize: bytes(),
  maxMergeRegionKeys: whole(0, Number.MAX_SAFE_INTEGER),
  splitMergeInterval: duration(),
  storeLimit: whole(0, 1_000_000),
  lowSpaceRatio: {
    parse: (text) => {
      const ratio = Number(text);
      if (text.trim() !== '' && ratio >= 0 && ratio <= 1) return ratio;
      throw wrong(text, 'a number from 0 to 1');
    },
    print: String,
  },
  maxPendingPeerCount: whole(0, 100_000),
  maxSnapshotCount: whole(0, 100_000),
  hotWriteRate: bytes(),
  hotReadRate: bytes(),
  gcEnabled: either(),
  gcLifeTime: atLeast(MINUTE, duration()),
  gcInterval: atLeast(10_000, duration()),
};

/** Names of the settings as people write them: `max-replicas`. */
export const CONFIG_NAMES: readonly string[] = Object.keys(SETTINGS).map(printedName);

/**
 * The configuration with one setting changed.
 * @param name as people write it
 * @throws TroupeError `invalid-argument` for a name or a value that is none, with what would be one
 */
export function withSetting(config: PlacementConfig, name: string, text: string): PlacementConfig {
  const key = (Object.keys(SETTINGS) as (keyof PlacementConfig)[]).find((one) => printedName(one) === name);
  if (key === undefined) {
    throw new TroupeError(
      'invalid-argument',
      `There is no setting "${name}": the settings are ${CONFIG_NAMES.join(', ')}.`,
    );
  }
  let changed: PlacementConfig;
  try {
    changed = { ...config, [key]: SETTINGS[key].parse(text) };
  } catch (error) {
    if (error instanceof TroupeError) throw new TroupeError('invalid-argument', `${name}: ${error.message}`);
    throw error;
  }
  const { isolationLevel, locationLabels } = changed;
  if (isolationLevel !== '' && !locationLabels.includes(isolationLevel)) {
    throw new TroupeError(
      'invalid-argument',
      `The isolation level "${isolationLevel}" is none of the location labels (${locationLabels.join(', ') || 'there are none'}): set location-labels first.`,
    );
  }
  return changed;
}

/** Every setting as people write it. */
export function printedSettings(
  config: PlacementConfig,
): readonly (readonly [name: string, value: string])[] {
  return (Object.keys(SETTINGS) as (keyof PlacementConfig)[]).map((key) => [
    printedName(key),
    (SETTINGS[key] as Setting<unknown>).print(config[key]),
  ]);
}

function printedName(key: string): string {
  return key === 'rules' ? 'placement-rules' : key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

function either(): Setting<boolean> {
  return {
    parse: (text) => {
      if (text === 'true' || text === 'false') return text === 'true';
      throw wrong(text, 'true or false');
    },
    print: String,
  };
}

function atLeast(least: number, setting: Setting<number>): Setting<number> {
  return {
    parse: (text) => {
      const value = setting.parse(text);
      if (value >= least) return value;
      throw wrong(text, `${setting.print(least)} or longer`);
    },
    print: setting.print,
  };
}

function whole(least: number, most: number): Setting<number> {
  return {
    parse: (text) => {
      const value = Number(text);
      if (/^\d+$/.test(text) && value >= least && value <= most) return value;
      throw wrong(text, `a whole number from ${least} to ${most}`);
    },
    print: String,
  };
}

function duration(): Setting<number> {
  return measured(DURATIONS, 'a duration such as 30m, 10s or 500ms');
}

function bytes(): Setting<number> {
  return measured(SIZES, 'a size such as 54MiB or 256KiB');
}

function measured(units: typeof DURATIONS, what: string): Setting<number> {
  return {
    parse: (text) => {
      const [, count, unit] = /^(\d{1,12})([A-Za-z]*)$/.exec(text) ?? [];
      const factor = text === '0' ? 1 : units.find(([name]) => name === unit)?.[1];
      const value = Number(count) * (factor ?? Number.NaN);
      if (Number.isSafeInteger(value)) return value;
      throw wrong(text, what);
    },
    print: (value) => {
      const [unit, factor] = units.find(([, size]) => value >= size && value % size === 0) ?? ['', 1];
      return `${value / factor}${unit}`;
    },
  };
}

const LABEL = /^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/;

/** Whether this may be a label's key or value: letters, digits, `-`, `_` and `.`, at most 63, as in PD. */
export function isLabel(text: string): boolean {
  return LABEL.test(text);
}

function words(text: string): readonly string[] {
  const labels = text === '' ? [] : text.split(',').map((word) => word.trim());
  const illegal = labels.find((label) => !isLabel(label));
  if (illegal !== undefined) throw wrong(illegal, 'a label: letters, digits, -, _ and ., at most 63');
  if (new Set(labels).size < labels.length) throw wrong(text, 'labels that differ');
  return labels;
}

function wrong(text: string, expected: string): TroupeError {
  return new TroupeError('invalid-argument', `"${text}" is not ${expected}.`);
}
