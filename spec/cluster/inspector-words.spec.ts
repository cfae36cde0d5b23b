import { expect } from 'chai';
import { keyName, shownKey, spacesOf } from '../../cluster/inspector/keys.js';
import { eventText, many, rangeText, shownSteps, startText } from '../../cluster/inspector/page/words.js';
import { describeStoredKey, escapeKey, rawKey, txnKey } from '../../storage/keys.js';
import { regionItem } from './inspector-samples.js';

const raw = (key: string): string => escapeKey(rawKey(Buffer.from(key)));
const txn = (key: string): string => escapeKey(txnKey(Buffer.from(key)));

describe("how the inspector's page writes", () => {
  it('a stored key as the user key that it is, with its space', () => {
    expect(shownKey(raw('m'))).to.deep.equal({ space: 'raw', key: 'm' });
    expect(shownKey(txn('a key of more than eight bytes'))).to.deep.equal({
      space: 'txn',
      key: 'a key of more than eight bytes',
    });
    expect(shownKey(raw('\x01'))).to.deep.equal({ space: 'raw', key: '\\x01' });
    expect(shownKey('x')).to.deep.equal({ space: 'txn', key: '' });
    expect(shownKey('q?')).to.deep.equal({ space: '', key: 'q?' });
    expect([raw('m'), txn('m'), ''].map(keyName)).to.deep.equal(['m (raw)', 'm (txn)', 'the first key']);
    expect(describeStoredKey(rawKey(Buffer.from('m')))).to.equal('raw "m"');
    expect(describeStoredKey(Buffer.from('x?'))).to.equal('"x?"');
  });

  it('a range with the space once where it is in one', () => {
    const range = (start: string, end: string): string => rangeText(shownKey(start), shownKey(end));
    expect(range('', '')).to.equal('−∞ … +∞');
    expect(range(raw('a'), raw('m'))).to.equal('raw a … m');
    expect(range('', raw('m'))).to.equal('−∞ … raw m');
    expect(range(raw('m'), txn('a'))).to.equal('raw m … txn a');
    expect(range(raw('m'), 'x')).to.equal('raw m … txn −∞');
    expect(range(txn('m'), '')).to.equal('txn m … +∞');
    expect(startText(shownKey(txn('m')))).to.equal('txn m');
  });

  it('which spaces a region has keys of', () => {
    const spaces = (start: string, end: string): string[] => spacesOf(regionItem(1, { start, end }));
    expect(spaces('', '')).to.deep.equal(['raw', 'txn']);
    expect(spaces('', raw('m'))).to.deep.equal(['raw']);
    expect(spaces(raw('m'), txn('m'))).to.deep.equal(['raw', 'txn']);
    expect(spaces(raw('m'), 'x')).to.deep.equal(['raw']);
    expect(spaces(txn('m'), '')).to.deep.equal(['txn']);
  });

  it("XState's own events as the charts do", () => {
    expect(
      [
        'xstate.after.5000.door.leaf.open',
        'xstate.after.250.door',
        'xstate.after.patience.door.leaf',
        'xstate.done.actor.0.door.sensor.fetching',
        'xstate.error.actor.fetcher',
        'xstate.promise.resolve',
        'xstate.init',
        'open.wide',
      ].map(eventText),
    ).to.deep.equal([
      'after 5 s',
      'after 250 ms',
      'after patience',
      'done: fetching',
      'error: fetcher',
      'resolved',
      'begin',
      'open.wide',
    ]);
  });

  it('numbers with the word that fits', () => {
    expect([0, 1, 1_000].map((n) => many(n, 'region'))).to.deep.equal([
      '0 regions',
      '1 region',
      '1,000 regions',
    ]);
    expect(many(1, 'record/s', 'records/s')).to.equal('1 record/s');
  });

  it("where an actor stands by its own steps, whatever its children's are", () => {
    const step = (number: number, child?: string) => ({ number, child });
    const steps = [step(1), step(2, 'fetch'), step(3), step(4, 'fetch')];
    const shown = (pinned: number): (number | undefined)[] => {
      const { own, chosen } = shownSteps(steps, pinned);
      return [own?.number, chosen?.number];
    };
    expect(shown(0)).to.deep.equal([3, 3]);
    expect(shown(4)).to.deep.equal([3, 4]);
    expect(shown(2)).to.deep.equal([1, 2]);
    expect(shown(1)).to.deep.equal([1, 1]);
    expect(shownSteps([], 0)).to.deep.equal({ own: undefined, chosen: undefined });
  });
});
