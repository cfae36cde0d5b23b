import { expect } from 'chai';
import fc from 'fast-check';
import { filterFrame, readEnvelopes } from '../../actors/envelopes.js';
import { FrameReader } from '../../actors/frame-reader.js';
import { FrameWriter } from '../../actors/frame-writer.js';
import { Tag } from '../../actors/frames.js';

interface Sample {
  readonly tag: keyof typeof Tag;
  readonly path: string;
  readonly kind: string;
  readonly id: number;
  readonly amount: number;
  readonly body: Uint8Array;
}

const number = fc.oneof(
  fc.nat(200),
  fc.nat(),
  fc.constantFrom(127, 128, 2 ** 31 - 1, 2 ** 31, 2 ** 32, 2 ** 49, Number.MAX_SAFE_INTEGER),
  fc.maxSafeNat(),
);
const text = fc.oneof(
  fc.constantFrom('region/1', 'region/1/peer/2', 'raft', ''),
  fc.string({ unit: 'grapheme', maxLength: 300 }),
);
const sample: fc.Arbitrary<Sample> = fc.record({
  tag: fc.constantFrom(...(Object.keys(Tag) as (keyof typeof Tag)[])),
  path: text,
  kind: text,
  id: number,
  amount: number,
  body: fc.uint8Array({ maxLength: 300 }),
});
const bytes = (samples: readonly Sample[], sender = 'store-1', from = 7, to = 9): Uint8Array => {
  const writer = new FrameWriter();
  writer.begin(sender, from, to);
  for (const one of samples) write(writer, one);
  return writer.take();
};

function write(writer: FrameWriter, { tag, path, kind, id, amount, body }: Sample): void {
  switch (tag) {
    case 'tell':
      return writer.tell(path, kind, body);
    case 'ask':
      return writer.ask(id, amount, path, kind, body);
    case 'reply':
      return writer.reply(id, body);
    case 'fail':
      return writer.fail(id, kind, path, 'sentence');
    case 'watch':
    case 'watching':
      return writer[tag](path, amount);
    case 'down':
      return writer.down(path, kind);
    case 'stop':
    case 'unwatch':
      return writer[tag](path);
    default:
      return writer[tag]();
  }
}

/** What a reader must find for a sample; fields that its tag does not carry are empty. */
function expected({ tag, path, kind, id, amount, body }: Sample): object {
  const has = (...tags: (keyof typeof Tag)[]): boolean => tags.includes(tag);
  return {
    tag: Tag[tag],
    path: has('reply', 'ping', 'pong') ? '' : path,
    kind: has('tell', 'ask', 'fail', 'down') ? kind : '',
    id: has('ask', 'reply', 'fail') ? id : 0,
    amount: has('ask', 'watch', 'watching') ? amount : 0,
    body: has('tell', 'ask', 'reply') ? [...body] : tag === 'fail' ? [...Buffer.from('sentence')] : [],
  };
}

function found(reader: FrameReader): object[] {
  return Array.from({ length: reader.count }, (_, i) => ({
    tag: reader.tags[i],
    path: reader.paths[i],
    kind: reader.kinds[i],
    id: reader.ids[i],
    amount: reader.amounts[i],
    body: [...reader.body(i)],
  }));
}

describe('frames', () => {
  it('give back what was written', () => {
    const reader = new FrameReader();
    fc.assert(
      fc.property(fc.array(sample, { maxLength: 40 }), number, number, (samples, from, to) => {
        expect(reader.read(bytes(samples, 'store-1', from, to))).to.equal(undefined);
        expect(reader.sender).to.equal('store-1');
        expect([reader.fromIncarnation, reader.toIncarnation]).to.deep.equal([from, to]);
        expect(found(reader)).to.deep.equal(samples.map(expected));
      }),
      { seed: 1, numRuns: 300 },
    );
  });

  it('carry a path and a kind once, however many envelopes use them', () => {
    const one: Sample = {
      tag: 'tell',
      path: 'region/17/peer/42',
      kind: 'raft',
      id: 0,
      amount: 0,
      body: new Uint8Array(1),
    };
    const single = bytes([one]).length;
    const many = bytes(new Array<Sample>(100).fill(one)).length;
    expect((many - single) / 99).to.equal(5);
  });

  it('show bodies as views of the received bytes', () => {
    const body = Uint8Array.of(1, 2, 3);
    const received = new Uint8Array(200);
    const frame = bytes([{ tag: 'tell', path: 'a', kind: 'k', id: 0, amount: 0, body }]);
    received.set(frame, 50);
    const reader = new FrameReader();
    expect(reader.read(received.subarray(50, 50 + frame.length))).to.equal(undefined);
    expect(reader.body(0).buffer).to.equal(received.buffer);
    expect(reader.body(0)).to.deep.equal(body);
  });

  it('cut anywhere are refused as a whole, or hold only whole envelopes', () => {
    const reader = new FrameReader();
    fc.assert(
      fc.property(fc.array(sample, { minLength: 1, maxLength: 8 }), fc.nat(), (samples, cut) => {
        const frame = bytes(samples);
        const flaw = reader.read(frame.subarray(0, cut % frame.length));
        if (flaw === undefined)
          expect(found(reader)).to.deep.equal(samples.slice(0, reader.count).map(expected));
        else expect(reader.count).to.equal(0);
      }),
      { seed: 2, numRuns: 500 },
    );
  });

  it('of garbage never throw, and never show more than they hold', () => {
    const reader = new FrameReader();
    const garbage = fc.oneof(
      fc.uint8Array({ maxLength: 200 }),
      fc.uint8Array({ maxLength: 200 }).map((tail) => Uint8Array.from([0xa7, 1, ...tail])),
      fc.uint8Array({ maxLength: 200 }).map((tail) => Uint8Array.from([0xa7, 1, 1, 1, 1, 0x61, ...tail])),
    );
    fc.assert(
      fc.property(garbage, (frame) => {
        const flaw = reader.read(frame);
        if (flaw !== undefined) expect(reader.count).to.equal(0);
        for (let i = 0; i < reader.count; i++) expect(reader.body(i).length).to.be.at.most(frame.length);
        readEnvelopes(frame);
      }),
      { seed: 3, numRuns: 5000 },
    );
  });

  it('with one byte changed never throw', () => {
    const reader = new FrameReader();
    fc.assert(
      fc.property(
        fc.array(sample, { minLength: 1, maxLength: 8 }),
        fc.nat(),
        fc.nat(255),
        (samples, at, value) => {
          const frame = Uint8Array.from(bytes(samples));
          frame[at % frame.length] = value;
          reader.read(frame);
        },
      ),
      { seed: 4, numRuns: 2000 },
    );
  });

  it('refuse numbers above 2^53, texts that are not UTF-8, unknown versions and envelopes', () => {
    const reader = new FrameReader();
    const header = [0xa7, 1];
    expect(reader.read(Uint8Array.from([...header, 255, 255, 255, 255, 255, 255, 255, 127]))).to.match(
      /2\^53/,
    );
    expect(reader.read(Uint8Array.from([...header, 1, 1, 2, 0xc3, 0x28]))).to.match(/UTF-8/);
    expect(reader.read(Uint8Array.from([0xa7, 9, 1, 1, 1, 0x61]))).to.match(/version 9/);
    expect(reader.read(Uint8Array.from([...header, 1, 1, 1, 0x61, 200]))).to.match(/unknown envelope/);
    expect(reader.read(Uint8Array.from([...header, 1, 1, 1, 0x61, Tag.stop, 5]))).to.match(
      /beyond the table/,
    );
  });

  it('keep everything else as it was when one envelope is filtered out', () => {
    const reader = new FrameReader();
    const dropped: Sample = {
      tag: 'tell',
      path: 'x',
      kind: 'drop',
      id: 0,
      amount: 0,
      body: new Uint8Array(2),
    };
    fc.assert(
      fc.property(fc.array(sample, { minLength: 1, maxLength: 12 }), (samples) => {
        const rest = filterFrame(bytes([dropped, ...samples]), ({ kind }) => kind !== 'drop');
        expect(reader.read(rest ?? new Uint8Array(0))).to.equal(undefined);
        expect(found(reader)).to.deep.equal(samples.map(expected));
      }),
      { seed: 5, numRuns: 200 },
    );
  });

  it('can be filtered envelope by envelope', () => {
    const frame = bytes([
      { tag: 'tell', path: 'a', kind: 'keep', id: 0, amount: 0, body: Uint8Array.of(1) },
      { tag: 'ask', path: 'a', kind: 'drop', id: 5, amount: 6, body: Uint8Array.of(2) },
      { tag: 'fail', path: 'why', kind: 'refused', id: 8, amount: 0, body: new Uint8Array(0) },
    ]);
    const rest = filterFrame(frame, ({ kind }) => kind !== 'drop');
    expect(readEnvelopes(rest ?? new Uint8Array(0)).map(({ tag, kind }) => `${tag} ${kind}`)).to.deep.equal([
      'tell keep',
      'fail refused',
    ]);
    expect(filterFrame(frame, () => false)).to.equal(undefined);
    expect(filterFrame(frame, () => true)).to.equal(frame);
  });
});
