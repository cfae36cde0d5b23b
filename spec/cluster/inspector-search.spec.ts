import { expect } from 'chai';
import type { InspectionRecord } from '../../actors/index.js';
import { ClusterModel } from '../../cluster/inspector/model.js';
import { searchModel } from '../../cluster/inspector/search.js';
import { escapeKey, rawKey, txnKey } from '../../storage/keys.js';
import { regionItem, Teller } from './inspector-samples.js';

const raw = (key: string): string => escapeKey(rawKey(Buffer.from(key)));
const txn = (key: string): string => escapeKey(txnKey(Buffer.from(key)));

function region(id: number, start: string, end: string): object {
  const { length } = start;
  return regionItem(id, { start, end, startHex: length === 0 ? '' : Buffer.from(start).toString('hex') });
}

function modelOf(paths: readonly string[]): ClusterModel {
  const model = new ClusterModel(() => 1_000);
  const scheduler = new Teller('scheduler-1');
  model.take(
    scheduler.state('regions', [
      region(1, '', raw('m')),
      region(2, raw('m'), txn('door')),
      region(3, txn('door'), ''),
    ]),
  );
  const store = new Teller('store-1');
  const actor = (path: string): object => ({ path, status: 'active', queued: 0, restarts: 0, logic: 'peer' });
  model.take(store.state('actors', paths.map(actor)));
  return model;
}

describe("the inspector's search", () => {
  it('puts what is called so exactly before what has it somewhere in it', () => {
    const model = modelOf(['a/indoor', 'a/doorman', 'region/3/peer/9', 'deployed/door', 'door/2', 'door/10']);
    const { found, total } = searchModel(model, 'Door');
    expect(found.map(({ name }) => name)).to.deep.equal([
      'store-1/deployed/door',
      'store-1/door/2',
      'store-1/door/10',
      'store-1/a/doorman',
      'store-1/a/indoor',
    ]);
    expect(total).to.equal(5);
    expect(found[0]?.hash).to.equal('#/actors/store-1%2Fdeployed%2Fdoor');
  });

  it('says of a key where it lies in each space', () => {
    const { places } = searchModel(modelOf([]), 'door');
    expect(places.map(({ name, space }) => `${space}: ${name}`)).to.deep.equal([
      'raw: region 1',
      // A region begins at this very key.
      'txn: region 3',
    ]);
  });

  it('finds a region by its id, and a transaction by its start and by its keys', () => {
    const model = modelOf([]);
    model.take(
      new Teller('store-2').batch([
        {
          kind: 'note',
          at: 0,
          topic: 'txn',
          detail: {
            ...{ startTs: '4711', region: 2, what: 'prewrite', keys: 1, key: 'ada' },
            ...{ primary: true, commitTs: '', outcome: 'ok' },
          },
        },
      ]),
    );
    const hashes = (text: string): string[] => searchModel(model, text).found.map(({ hash }) => hash);
    expect(hashes('2')).to.deep.equal(['#/raft/2']);
    expect(hashes('region 2')).to.deep.equal(['#/raft/2']);
    expect(hashes('4711')).to.deep.equal(['#/transactions/4711']);
    expect(hashes('ada')).to.deep.equal(['#/transactions/4711']);
  });

  it('puts a start timestamp that begins so before keys that have it somewhere', () => {
    const model = modelOf([]);
    const prewrite = (startTs: string, key: string): InspectionRecord => ({
      kind: 'note',
      at: 0,
      topic: 'txn',
      detail: {
        ...{ startTs, region: 2, what: 'prewrite', keys: 1, key },
        ...{ primary: true, commitTs: '', outcome: 'ok' },
      },
    });
    const store = new Teller('store-2');
    for (const [startTs, key] of [
      ['100', 'id-4711-a'],
      ['471100', 'ada'],
      ['200', 'id-4711-b'],
    ] as const)
      model.take(store.batch([prewrite(startTs, key)]));
    expect(searchModel(model, '4711').found[0]?.hash).to.equal('#/transactions/471100');
  });

  it('finds nothing where there is nothing', () => {
    expect(searchModel(modelOf(['a/b']), 'zebra').found).to.deep.equal([]);
    expect(searchModel(modelOf(['a/b']), '  ')).to.deep.equal({ total: 0, found: [], places: [] });
  });

  it('answers at once where there are 20,000 actors, and with no more than somebody reads', function () {
    this.timeout(10_000);
    const model = modelOf(Array.from({ length: 20_000 }, (_, i) => `region/${i}/peer/${i}`));
    searchModel(model, 'peer');
    const from = performance.now();
    const { found, total } = searchModel(model, 'peer');
    expect(performance.now() - from).to.be.below(1_000);
    expect(total).to.equal(20_000);
    expect(found).to.have.length(30);
  });
});
