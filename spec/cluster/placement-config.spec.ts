import { expect } from 'chai';
import { TroupeError } from '../../cluster/errors.js';
import {
  CONFIG_NAMES,
  DEFAULT_CONFIG,
  isLabel,
  type PlacementConfig,
  printedSettings,
  withSetting,
} from '../../cluster/scheduler/placement/config.js';
import { type PlacementRule, PlacementRules, parseRules } from '../../cluster/scheduler/placement/rules.js';
import { bytes } from './placement-service-world.js';

const labelled: PlacementConfig = { ...DEFAULT_CONFIG, locationLabels: ['zone', 'rack'] };

/** Values that are taken, beside the default, and values that are refused. */
const SETTINGS: Readonly<
  Record<string, { readonly good: readonly string[]; readonly bad: readonly string[] }>
> = {
  'max-replicas': { good: ['1', '15'], bad: ['0', '16', '-1', '1.5', 'three', '', ' 3', '1e0'] },
  'location-labels': {
    good: ['', 'zone', 'zone,rack,host'],
    bad: ['zone,', 'zone,zone', 'a b', '-zone', 'x'.repeat(64), 'zône'],
  },
  'isolation-level': { good: ['', 'zone', 'rack'], bad: ['host', 'zone,rack', ' '] },
  'placement-rules': {
    good: ['[]', '[{"id":"r","start":"a","end":"b","count":5,"constraints":[]}]'],
    bad: ['{', '{}', '[1]'],
  },
  'halt-scheduling': { good: ['true', 'false'], bad: ['yes', '1', '', 'TRUE'] },
  'leader-schedule-limit': { good: ['0', '100000'], bad: ['100001', '-1', ''] },
  'region-schedule-limit': { good: ['0', '100000'], bad: ['100001', '-1', ''] },
  'replica-schedule-limit': { good: ['0', '100000'], bad: ['100001', '-1', ''] },
  'merge-schedule-limit': { good: ['0', '100000'], bad: ['100001', '-1', ''] },
  'hot-region-schedule-limit': { good: ['0', '100000'], bad: ['100001', '-1', ''] },
  'max-store-down-time': { good: ['0', '1ms', '90s', '30m', '2h'], bad: ['30', '1d', '-1s', '1.5h', ''] },
  'max-merge-region-size': { good: ['0', '1B', '20MiB', '3GiB'], bad: ['20', '20MB', '-1B', ''] },
  'max-merge-region-keys': { good: ['0', '9007199254740991'], bad: ['9007199254740992', '-1', ''] },
  'split-merge-interval': { good: ['0', '1h'], bad: ['1', 'h', ''] },
  'store-limit': { good: ['0', '1000000'], bad: ['1000001', '-1', ''] },
  'low-space-ratio': { good: ['0', '0.8', '1'], bad: ['1.1', '-0.1', '', 'NaN', 'much'] },
  'max-pending-peer-count': { good: ['0', '100000'], bad: ['100001', ''] },
  'max-snapshot-count': { good: ['0', '100000'], bad: ['100001', ''] },
  'hot-write-rate': { good: ['0', '1KiB'], bad: ['1', ''] },
  'hot-read-rate': { good: ['0', '4MiB'], bad: ['4M', ''] },
  'gc-enabled': { good: ['true', 'false'], bad: ['on', ''] },
  'gc-life-time': { good: ['1m', '10m', '61s', '24h'], bad: ['59s', '0', '10', ''] },
  'gc-interval': { good: ['10s', '10m'], bad: ['9s', '0', ''] },
};

function printed(config: PlacementConfig, name: string): string | undefined {
  return printedSettings(config).find(([one]) => one === name)?.[1];
}

describe('settings of placement', () => {
  it('are these', () => {
    expect([...CONFIG_NAMES].sort()).to.deep.equal(Object.keys(SETTINGS).sort());
  });

  for (const [name, { good, bad }] of Object.entries(SETTINGS)) {
    it(`${name} is what it is printed as, and nothing else than what it can be`, () => {
      for (const text of [...good, printed(DEFAULT_CONFIG, name) ?? '']) {
        const config = withSetting(labelled, name, text);
        expect(printed(config, name), text).to.equal(text);
        expect(withSetting(labelled, name, printed(config, name) ?? '')).to.deep.equal(config);
      }
      for (const text of bad) {
        expect(() => withSetting(labelled, name, text), text)
          .to.throw(TroupeError)
          .with.property('code', 'invalid-argument');
      }
    });
  }

  it('that there are not are refused with those that there are', () => {
    for (const name of ['', 'rules', 'maxReplicas', 'constructor'])
      expect(() => withSetting(DEFAULT_CONFIG, name, '1')).to.throw(/max-replicas/);
  });

  it('keep the isolation level one of the location labels', () => {
    const isolated = withSetting(labelled, 'isolation-level', 'rack');
    expect(() => withSetting(isolated, 'location-labels', 'zone')).to.throw(/isolation level "rack"/);
    expect(() => withSetting(isolated, 'location-labels', 'host,rack')).to.not.throw();
  });

  it('take labels of letters, digits, -, _ and ., at most 63', () => {
    for (const label of ['a', 'Z9', 'a-b_c.d', 'x'.repeat(63)]) expect(isLabel(label), label).to.equal(true);
    for (const label of ['', '-a', 'a-', 'a b', 'a/b', 'é', 'x'.repeat(64), 'a\n'])
      expect(isLabel(label), label).to.equal(false);
  });
});

describe('placement rules', () => {
  const rule = (change: object) => JSON.stringify([{ id: 'r', count: 3, ...change }]);
  const wrong: readonly (readonly [string, string])[] = [
    ['they are not JSON', '['],
    ['they are a list', '{"id":"r"}'],
    ['each is an object', '[null]'],
    ['each is an object', '[[]]'],
    ['each has an id', rule({ id: '' })],
    ['each has an id', rule({ id: 7 })],
    ['are keys', rule({ start: 1 })],
    ['ends before it starts', rule({ start: 'b', end: 'a' })],
    ['ends before it starts', rule({ start: 'b', end: 'b' })],
    ['the count', rule({ count: 0 })],
    ['the count', rule({ count: 16 })],
    ['the count', rule({ count: 2.5 })],
    ['the count', rule({ count: '3' })],
    ['are a list', rule({ constraints: {} })],
    ['is an object', rule({ constraints: [7] })],
    ["a label's key", rule({ constraints: [{ key: '', op: 'in', values: [] }] })],
    ['is one of in, notIn', rule({ constraints: [{ key: 'a', op: 'is', values: [] }] })],
    ['a list of words', rule({ constraints: [{ key: 'a', op: 'in', values: [1] }] })],
    ['a list of words', rule({ constraints: [{ key: 'a', op: 'in', values: 'b' }] })],
    ['the same id', `[${[1, 2].map(() => '{"id":"r","count":3}').join()}]`],
    ['at most 100', JSON.stringify(Array.from({ length: 101 }, (_, i) => ({ id: `${i}`, count: 1 })))],
  ];
  for (const [what, text] of wrong) {
    it(`are refused: ${what}, ${text.slice(0, 60)}`, () => {
      expect(() => parseRules(text)).to.throw(TroupeError, what);
    });
  }

  const of = (id: string, start: string, end: string, count: number): PlacementRule => ({
    id,
    start,
    end,
    count,
    constraints: [],
  });

  it('hold for keys from their start up to before their end, the last one that covers a key', () => {
    const rules = new PlacementRules([of('a', 'b', 'm', 5), of('b', 'f', '', 1), of('c', 'f', 'g', 7)], 3);
    const counts = ['', 'a', 'b', 'e', 'f', 'fz', 'g', 'l', 'm', 'z'].map(
      (key) => rules.demandOf({ startKey: bytes(key) }).count,
    );
    expect(counts).to.deep.equal([3, 3, 5, 5, 7, 7, 1, 1, 1, 1]);
  });

  it('divide regions where one begins or ends, each border once', () => {
    const rules = new PlacementRules([of('a', 'b', 'm', 5), of('b', 'm', '', 1), of('c', 'f', 'm', 7)], 3);
    const borders = (start: string, end: string) =>
      rules.bordersWithin(bytes(start), bytes(end)).map((key) => Buffer.from(key).toString());
    expect(borders('', '')).to.deep.equal(['b', 'f', 'm']);
    expect(borders('b', 'm')).to.deep.equal(['f']);
    expect(borders('c', 'e')).to.deep.equal([]);
    expect(borders('f', '')).to.deep.equal(['m']);
  });
});
