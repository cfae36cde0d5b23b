import type { ActorSystem, Logger, ReplyTo } from '../../actors/index.js';
import type { metapb } from '../../storage/proto/index.js';
import type { troupepb } from '../proto/index.js';
import { type ProtocolEvent, peerPath } from '../protocol.js';
import type { ChangeRegionEvent } from './region-changes.js';
import { CheckRefusedError, checkRegion, type RegionCheck } from './region-checker.js';
import { errorOf, notLeader } from './region-errors.js';
import type { RegionReplica } from './replica.js';

export interface QuestionsOptions {
  readonly system: ActorSystem;
  readonly logger: Logger;
  readonly replicas: ReadonlyMap<number, RegionReplica>;
  /** Name of the store's node, as far as it is known. */
  readonly nodeOf: (storeId: number) => string | undefined;
  /** The terms of a peer that has forgotten them do not count. */
  readonly recovering: (regionId: number, peerId: number) => boolean;
}

export type CheckRegionEvent = ProtocolEvent<'store.checkRegion'> & {
  readonly replyTo?: ReplyTo<troupepb.CheckRegionResponse>;
};
export type RegionHashEvent = ProtocolEvent<'store.regionHash'> & {
  readonly replyTo?: ReplyTo<troupepb.RegionHashResponse>;
};
export type PeerTermEvent = ProtocolEvent<'store.peerTerm'> & {
  readonly replyTo?: ReplyTo<troupepb.PeerTermResponse>;
};

/** Milliseconds that a change may take until it is applied here: no longer than its caller waits for it. */
const CHANGE_TIMEOUT_MS = 60_000;
/** Milliseconds that the leader waits for another store's hash: it may have to catch up, and then reads everything. */
const HASH_TIMEOUT_MS = 60_000;
const NO_HASH = new Uint8Array(0);

/** What other stores and people ask of a store beside reading and writing: how its replicas are. */
export class StoreQuestions {
  readonly #options: QuestionsOptions;

  constructor(options: QuestionsOptions) {
    this.#options = options;
  }

  /** Compares all replicas of a region that this store leads. */
  checkRegion({ regionId, replyTo }: CheckRegionEvent): void {
    const replica = this.#options.replicas.get(regionId);
    const regionError =
      replica === undefined || !replica.attached
        ? regionNotFound(regionId)
        : replica.group.isLeader
          ? undefined
          : notLeader(replica.region, replica.peerOf(replica.group.leader));
    if (replica === undefined || regionError !== undefined) {
      replyTo?.send({ regionError, index: 0, hash: NO_HASH, replicas: [] });
      return;
    }
    checkRegion(replica, (region, peer, index) => this.#askHash(region, peer, index)).then(
      (check) => replyTo?.send(responseOf(check)),
      (error: unknown) => {
        const sentence = error instanceof Error ? error.message : String(error);
        replyTo?.fail(error instanceof CheckRefusedError ? 'overloaded' : 'failed', sentence);
      },
    );
  }

  /** Changes a region that this store leads. Never rejects. */
  async change(request: troupepb.ChangeRegionRequest): Promise<troupepb.ChangeRegionResponse> {
    const { system, replicas } = this.#options;
    const regionId = request.context?.regionId ?? 0;
    const replica = replicas.get(regionId);
    const notHere = { regionError: regionNotFound(regionId), refusal: undefined, regions: [] };
    if (replica === undefined || !replica.attached) return notHere;
    const peer = system.ref(`${system.node}/${peerPath(regionId, replica.peerId)}`);
    const event = { ...request, type: 'store.changeRegion' };
    try {
      return (await peer.ask(event, { timeout: CHANGE_TIMEOUT_MS })) as troupepb.ChangeRegionResponse;
    } catch {
      return notHere;
    }
  }

  /** The same for somebody else. */
  changeRegion({ replyTo, ...request }: ChangeRegionEvent): void {
    void this.change(request).then((reply) => replyTo?.send(reply));
  }

  /** The hash of one replica here, when it is there: the caller's deadline ends the wait. */
  answerHash({ regionId, peerId, index, replyTo }: RegionHashEvent): void {
    const replica = this.#options.replicas.get(regionId);
    if (replica?.peer.id !== peerId || !replica.attached) {
      replyTo?.send({ hash: NO_HASH });
      return;
    }
    replica.consistency.whenComputed(index, (result) => replyTo?.send({ hash: result?.hash ?? NO_HASH }));
  }

  /** The highest term that a peer has on its disk, or is about to have there. */
  answerTerm({ regionId, peerId, replyTo }: PeerTermEvent): void {
    const replica = this.#options.replicas.get(regionId);
    if (this.#options.recovering(regionId, peerId)) replyTo?.send({ known: true, term: 0, recovering: true });
    else if (replica?.peer.id !== peerId || !replica.attached || replica.stopped) {
      replyTo?.send({ known: false, term: 0, recovering: false });
    } else replyTo?.send({ known: true, term: replica.group.term, recovering: false });
  }

  async #askHash(region: metapb.Region, peer: metapb.Peer, index: number): Promise<Uint8Array | undefined> {
    const { system, nodeOf, logger } = this.#options;
    const node = nodeOf(peer.storeId);
    if (node === undefined) return undefined;
    const store = system.ref(`${node}/store`);
    const question = { type: 'store.regionHash', regionId: region.id, peerId: peer.id, index } as const;
    const given = new AbortController();
    // A store that finds its disk damaged in the middle of this says nothing more.
    const unwatch = store.watch(({ reason }) => given.abort(new Error(`store ${peer.storeId}: ${reason}`)));
    try {
      const reply = await store.ask(question, { timeout: HASH_TIMEOUT_MS, signal: given.signal });
      const { hash } = reply as troupepb.RegionHashResponse;
      return hash.length === 0 ? undefined : hash;
    } catch (error) {
      logger.debug({ err: error, region: region.id, peer: peer.id }, 'a hash did not come');
      return undefined;
    } finally {
      unwatch();
    }
  }
}

function regionNotFound(regionId: number) {
  return errorOf(`region ${regionId} is not on this store: look it up again`, {
    regionNotFound: { regionId },
  });
}

function responseOf({ index, hash, replicas }: RegionCheck): troupepb.CheckRegionResponse {
  return {
    regionError: undefined,
    index,
    hash: hash ?? NO_HASH,
    replicas: replicas.map(({ peer, hash: own }) => ({
      peer,
      state:
        own === undefined
          ? 'missing'
          : hash !== undefined && Buffer.compare(own, hash) === 0
            ? 'equal'
            : 'different',
      hash: own ?? NO_HASH,
    })),
  };
}
