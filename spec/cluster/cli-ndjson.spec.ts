import { expect } from 'chai';
import fc from 'fast-check';
import { decodeRecord, encodeRecord, NotARecord } from '../../cluster/cli/ndjson.js';

describe('records as NDJSON', () => {
  it('brings any bytes back', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 1, maxLength: 40 }),
        fc.uint8Array({ maxLength: 40 }),
        (key, value) => {
          const line = encodeRecord({ key, value });
          expect(line).not.to.include('\n');
          const record = decodeRecord(line);
          expect(Buffer.compare(record.key, key)).to.equal(0);
          expect(Buffer.compare(record.value, value)).to.equal(0);
        },
      ),
      { seed: 2, numRuns: 300 },
    );
  });

  it('writes text as text and bytes that are not UTF-8 in base64', () => {
    const line = encodeRecord({ key: Buffer.from('käse "1"\n'), value: Buffer.from([0xff, 0x00]) });
    expect(JSON.parse(line)).to.deep.equal({ key: 'käse "1"\n', value64: '/wA=' });
  });

  const refused: readonly (readonly [line: string, reason: string])[] = [
    ['', 'it is not JSON'],
    ['{"key":"a"', 'it is not JSON'],
    ['[1]', 'it is not a JSON object'],
    ['null', 'it is not a JSON object'],
    ['{"key":"a"}', 'it has no "value"'],
    ['{"value":"a"}', 'it has no "key"'],
    ['{"key":"a","value":1}', 'its "value" is not a string'],
    ['{"key":"a","value64":"a"}', 'its "value64" is not base64'],
    ['{"key":"a","key64":"YQ==","value":""}', 'it has both "key" and "key64"'],
    ['{"key":"a","value":"","ttl":1}', 'it has a field "ttl" that a record does not have'],
    [
      '{"key":"\\ud800","value":""}',
      'its "key" holds half a surrogate pair, which has no UTF-8: use "key64"',
    ],
  ];
  for (const [line, reason] of refused) {
    it(`refuses ${line || 'an empty line'}`, () => {
      expect(() => decodeRecord(line)).to.throw(NotARecord, reason);
    });
  }
});
