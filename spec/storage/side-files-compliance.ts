/** What the files beside every engine's database must do. Call it inside a spec file with a way to open engines. */
import { expect } from 'chai';
import fc from 'fast-check';
import { type Engine, StorageError, type StorageErrorCode } from '../../storage/index.js';
import type { EngineUnderTest } from './engine-compliance.js';

const bytes = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text));
const text = (value: Uint8Array): string => Buffer.from(value).toString();

/** Passes when `call` rejects with a StorageError of this code, and returns its sentence. */
export async function refusal(call: Promise<unknown>, code: StorageErrorCode): Promise<string> {
  const error = await call.then(
    () => undefined,
    (cause: unknown) => cause,
  );
  expect(error).to.be.instanceOf(StorageError);
  expect((error as StorageError).code).to.equal(code);
  return (error as StorageError).message;
}

export function describeSideFiles(name: string, create: () => Promise<EngineUnderTest>): void {
  describe(`Files beside the engine: ${name}`, () => {
    let under: EngineUnderTest;
    let engine: Engine;

    beforeEach(async () => {
      under = await create();
      engine = await under.open();
    });

    afterEach(async () => {
      await engine.close();
      await under.destroy();
    });

    async function written(file: string, ...parts: string[]): Promise<void> {
      const opened = await engine.files.open(file);
      for (const part of parts) await opened.append(bytes(part));
      await opened.close();
    }

    const content = async (file: string): Promise<string> => text(await engine.files.read(file, 0, 1 << 20));

    it('are made by opening, and grow by appending', async () => {
      const file = await engine.files.open('a');
      expect(file.length).to.equal(0);
      await file.append(bytes('one'));
      expect(file.length).to.equal(3);
      await file.append(bytes(''));
      await file.append(bytes(' two'));
      expect(file.length).to.equal(7);
      await file.sync();
      await file.close();
      expect(await content('a')).to.equal('one two');
    });

    it('are read in parts, which end with the file', async () => {
      await written('a', '0123456789');
      const { files } = engine;
      expect(text(await files.read('a', 0, 4))).to.equal('0123');
      expect(text(await files.read('a', 4, 6))).to.equal('456789');
      expect(text(await files.read('a', 8, 2 ** 40))).to.equal('89');
      expect(text(await files.read('a', 10, 5))).to.equal('');
      expect(text(await files.read('a', 99, 5))).to.equal('');
      expect(text(await files.read('a', 3, 0))).to.equal('');
      for (const [offset, length] of [
        [-1, 2],
        [0, -2],
        [0.5, 1],
        [0, Number.NaN],
      ] as const) {
        const error = await files.read('a', offset, length).catch((cause: unknown) => cause);
        expect(error).to.be.instanceOf(RangeError);
      }
    });

    it('are read while they are written', async () => {
      const file = await engine.files.open('a');
      await file.append(bytes('one'));
      expect(await content('a')).to.equal('one');
      await file.append(bytes('two'));
      expect(await content('a')).to.equal('onetwo');
      await file.close();
    });

    it('give bytes away that belong to the reader', async () => {
      await written('a', 'abc');
      (await engine.files.read('a', 0, 3)).fill(0);
      expect(await content('a')).to.equal('abc');
    });

    it('do not keep what was appended: it may be changed afterwards', async () => {
      const file = await engine.files.open('a');
      const buffer = bytes('abc');
      await file.append(buffer);
      buffer.fill(0x78);
      await file.append(buffer);
      await file.close();
      expect(await content('a')).to.equal('abcxxx');
    });

    it('are continued when they are opened again', async () => {
      await written('a', 'one');
      const file = await engine.files.open('a');
      expect(file.length).to.equal(3);
      await file.append(bytes('two'));
      await file.close();
      expect(await content('a')).to.equal('onetwo');
    });

    it('are cut off, and continued from there', async () => {
      const file = await engine.files.open('a');
      await file.append(bytes('0123456789'));
      await file.sync();
      await file.truncate(4);
      expect(file.length).to.equal(4);
      expect(await content('a')).to.equal('0123');
      await file.append(bytes('x'));
      await file.truncate(5);
      for (const length of [6, -1, 0.5]) {
        expect(await file.truncate(length).catch((cause: unknown) => cause)).to.be.instanceOf(RangeError);
      }
      await file.append(bytes('y'));
      expect(await content('a')).to.equal('0123xy');
      await file.truncate(0);
      expect(file.length).to.equal(0);
      await file.close();
      expect(await content('a')).to.equal('');
    });

    it('take calls in their order, without waiting in between', async () => {
      const file = await engine.files.open('a');
      const calls = Array.from({ length: 50 }, (_, i) => file.append(bytes(`${i},`)));
      calls.push(file.sync(), file.truncate(4), file.append(bytes('end')));
      await Promise.all([...calls, file.close()]);
      expect(await content('a')).to.equal('0,1,end');
    });

    it('are listed with their lengths, in order of their names', async () => {
      expect(await engine.files.list()).to.deep.equal([]);
      for (const file of ['b', '10.snapshot', 'a', 'B', 'a-1']) await written(file, file);
      expect(await engine.files.list()).to.deep.equal([
        { name: '10.snapshot', length: 11 },
        { name: 'B', length: 1 },
        { name: 'a', length: 1 },
        { name: 'a-1', length: 3 },
        { name: 'b', length: 1 },
      ]);
    });

    it('are removed, and begin anew then; removing an absent one does nothing', async () => {
      await engine.files.remove('a');
      await written('a', 'old');
      await engine.files.remove('a');
      await engine.files.remove('a');
      expect(await engine.files.list()).to.deep.equal([]);
      expect(await refusal(engine.files.read('a', 0, 1), 'not-found')).to.include('a');
      await written('a', 'new');
      expect(await content('a')).to.equal('new');
    });

    it('are not found where there never was one', async () => {
      await refusal(engine.files.read('a', 0, 1), 'not-found');
    });

    it('have one writer, who keeps them from being removed', async () => {
      const file = await engine.files.open('a');
      const sentence = await refusal(engine.files.open('a'), 'locked');
      expect(sentence).to.equal('The file a is open for appending: close it first.');
      await refusal(engine.files.remove('a'), 'locked');
      await file.append(bytes('mine'));
      await file.close();
      await file.close();
      expect(await refusal(file.append(bytes('x')), 'closed')).to.match(/open it again/);
      await refusal(file.sync(), 'closed');
      await refusal(file.truncate(0), 'closed');
      expect(await content('a')).to.equal('mine');
      const opened = await Promise.allSettled([engine.files.open('b'), engine.files.open('b')]);
      expect(opened.map(({ status }) => status).sort()).to.deep.equal(['fulfilled', 'rejected']);
    });

    it('have plain names', async () => {
      for (const wrong of ['', '.', '..', 'a/b', '../a', '/a', 'a b', 'a\0', 'ä', 'x'.repeat(201)]) {
        expect(await refusal(engine.files.open(wrong), 'invalid-name')).to.match(/use 1 to 200 letters/);
        await refusal(engine.files.read(wrong, 0, 1), 'invalid-name');
        await refusal(engine.files.remove(wrong), 'invalid-name');
      }
      for (const right of ['a', '...', '.hidden', '1-2_3.SNAP', 'x'.repeat(200)]) await written(right, right);
      expect(await engine.files.list()).to.have.length(5);
    });

    it('outlive the engine, unsynced ones too', async () => {
      await written('a', 'kept');
      await engine.close();
      engine = await under.open();
      expect(await content('a')).to.equal('kept');
    });

    it('are refused after the close of the engine, which finishes what is under way', async () => {
      const file = await engine.files.open('a');
      const appends = Array.from({ length: 20 }, () => file.append(bytes('x')));
      const opening = engine.files.open('b');
      const listing = engine.files.list();
      await engine.close();
      await Promise.all([...appends, opening, listing]);
      await refusal(engine.files.open('c'), 'closed');
      await refusal(engine.files.read('a', 0, 1), 'closed');
      await refusal(engine.files.list(), 'closed');
      await refusal(engine.files.remove('a'), 'closed');
      await refusal(file.append(bytes('x')), 'closed');
      await file.close();
      engine = await under.open();
      expect(await content('a')).to.equal('x'.repeat(20));
      await written('b', 'opened');
    });

    it('take large appends', async () => {
      const large = Buffer.alloc(9 << 20);
      for (let i = 0; i < large.length; i += 4096) large.writeUInt32LE(i, i);
      const file = await engine.files.open('large');
      await file.append(large);
      await file.close();
      for (const offset of [0, 4 << 20, (9 << 20) - 4096]) {
        const part = await engine.files.read('large', offset, 4096);
        expect(Buffer.from(part).readUInt32LE()).to.equal(offset);
        expect(part).to.have.length(4096);
      }
    });

    it('behave like a string under any sequence of calls', async () => {
      const part = fc.string({ maxLength: 5, unit: 'grapheme-ascii' });
      const call = fc.oneof(
        fc.record({ append: part }),
        fc.record({ truncate: fc.nat(12) }),
        fc.constantFrom('sync' as const, 'reopen' as const, 'remove' as const),
      );
      const run = async (
        calls: readonly ('sync' | 'reopen' | 'remove' | { append: string } | { truncate: number })[],
      ) => {
        let model = '';
        await engine.files.remove('f');
        let file = await engine.files.open('f');
        for (const next of calls) {
          if (next === 'sync') {
            await file.sync();
          } else if (typeof next === 'string') {
            await file.close();
            if (next === 'remove') await engine.files.remove('f');
            if (next === 'remove') model = '';
            file = await engine.files.open('f');
          } else if ('append' in next) {
            await file.append(bytes(next.append));
            model += next.append;
          } else {
            const length = Math.min(next.truncate, model.length);
            await file.truncate(length);
            model = model.slice(0, length);
          }
          expect(file.length).to.equal(model.length);
        }
        await file.close();
        expect(await content('f')).to.equal(model);
      };
      await fc.assert(fc.asyncProperty(fc.array(call, { maxLength: 12 }), run), { numRuns: 40, seed: 11 });
    });
  });
}
