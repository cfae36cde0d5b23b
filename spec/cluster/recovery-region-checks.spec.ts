import { expect } from 'chai';
import { AskError } from '../../actors/index.js';
import { checkRegion } from '../../cluster/client/region-checks.js';
import type { AskStore } from '../../cluster/client/region-leader.js';
import { TroupeError } from '../../cluster/errors.js';
import type { SchedulerClient } from '../../cluster/pd-client.js';
import { errorpb, pdpb, troupepb } from '../../cluster/proto/index.js';
import { metapb } from '../../storage/proto/index.js';
import { peersOf, region } from './client-world.js';

const PEERS = peersOf(7);
const [FIRST, SECOND] = PEERS;
const TERMS = { timeout: 1_000 };

/** A scheduler that knows region 7 on three stores, of which store 1 leads. */
function schedulerWith(
  leader: metapb.Peer | undefined,
): Pick<SchedulerClient, 'getAllStores' | 'getRegionById'> {
  return {
    getAllStores: async () => [1, 2, 3].map((id) => metapb.Store.from({ id, address: `store-${id}` })),
    getRegionById: async (id) =>
      pdpb.GetRegionResponse.from(id === 7 ? { region: region(7, '', '', 1), leader } : {}),
  };
}

function answer(states: readonly string[]): troupepb.CheckRegionResponse {
  return troupepb.CheckRegionResponse.from({
    index: 42,
    hash: Uint8Array.of(0xab, 0xcd),
    replicas: states.map((state, i) =>
      troupepb.CheckedReplica.from({
        peer: PEERS[i],
        state,
        hash: state === 'missing' ? new Uint8Array(0) : Uint8Array.of(0xab, state === 'equal' ? 0xcd : 0xce),
      }),
    ),
  });
}

const refusal = (fields: Partial<errorpb.Error>): troupepb.CheckRegionResponse =>
  troupepb.CheckRegionResponse.from({ regionError: errorpb.Error.from({ message: 'not here', ...fields }) });

async function failureOf(promise: Promise<unknown>): Promise<TroupeError> {
  const error = await promise.then(
    () => undefined,
    (cause: unknown) => cause,
  );
  expect(error).to.be.instanceOf(TroupeError);
  return error as TroupeError;
}

describe('the consistency check of a region, as a client asks for it', () => {
  it('asks the leader and tells each replica', async () => {
    const asked: string[] = [];
    const ask: AskStore<'store.checkRegion'> = async (node, event) => {
      asked.push(`${node} ${event.regionId}`);
      return answer(['equal', 'different', 'missing']);
    };
    const report = await checkRegion(ask, schedulerWith(FIRST), 7, TERMS);
    expect(asked).to.deep.equal(['store-1 7']);
    expect(report).to.deep.equal({
      region: 7,
      index: 42,
      hash: 'abcd',
      replicas: [
        { peer: 71, store: 1, state: 'equal', hash: 'abcd' },
        { peer: 72, store: 2, state: 'different', hash: 'abce' },
        { peer: 73, store: 3, state: 'missing', hash: '' },
      ],
    });
  });

  it('follows a leader that has changed, and tries the others when one is away', async () => {
    for (const leader of [FIRST, undefined]) {
      const asked: string[] = [];
      const ask: AskStore<'store.checkRegion'> = async (node) => {
        asked.push(node);
        if (node === 'store-1') return refusal({ notLeader: { regionId: 7, leader: PEERS[2] } });
        if (node === 'store-3') return answer(['equal', 'equal', 'equal']);
        throw new AskError('no-such-actor', 'nobody there', 'no');
      };
      expect((await checkRegion(ask, schedulerWith(leader), 7, TERMS)).index).to.equal(42);
      expect(asked).to.deep.equal(['store-1', 'store-3']);
    }
    const away: AskStore<'store.checkRegion'> = async (node) => {
      if (node === 'store-2') throw new AskError('no-such-actor', 'nobody there', 'no');
      return answer(['equal', 'equal', 'equal']);
    };
    expect((await checkRegion(away, schedulerWith(SECOND), 7, TERMS)).index).to.equal(42);
  });

  it('fails with a sentence for an unknown region, without a leader, and when it takes too long', async () => {
    const nobody: AskStore<'store.checkRegion'> = async () => refusal({});
    const unknown = await failureOf(checkRegion(nobody, schedulerWith(FIRST), 8, TERMS));
    expect([unknown.code, unknown.message]).to.deep.equal([
      'not-found',
      'There is no region 8: `troupe region list` shows those that there are.',
    ]);
    const leaderless = await failureOf(checkRegion(nobody, schedulerWith(undefined), 7, TERMS));
    expect(leaderless.code).to.equal('unavailable');
    expect(leaderless.message).to.match(/could not be checked: not here/);
    const slow: AskStore<'store.checkRegion'> = async () => {
      throw new AskError('timeout', 'too late', 'maybe');
    };
    const late = await failureOf(checkRegion(slow, schedulerWith(FIRST), 7, TERMS));
    expect(late.code).to.equal('timeout');
    expect(late.message).to.match(/--timeout/);
  });
});
