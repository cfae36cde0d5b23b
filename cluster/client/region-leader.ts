import { AskError } from '../../actors/index.js';
import type { metapb } from '../../storage/proto/index.js';
import type { errorpb } from '../proto/index.js';
import type { Protocol, ProtocolEvent } from '../protocol.js';

/** What a client asks of the store that leads a region. */
export type LeaderQuestion = 'store.checkRegion' | 'store.changeRegion';

/** Asks the store of this node; as `ActorRef.ask` does. */
export type AskStore<K extends LeaderQuestion> = (
  node: string,
  event: ProtocolEvent<K>,
  patience: { readonly timeout: number; readonly signal?: AbortSignal },
) => Promise<Protocol[K]['reply']>;

/** A region, and its leader as far as it is known. */
export interface KnownRegion {
  readonly region: metapb.Region;
  readonly leader?: metapb.Peer | undefined;
}

interface RegionReply {
  readonly regionError?: errorpb.Error | undefined;
}

/** The answer of the store that leads, or what kept it from coming. */
export type LeaderAnswer<R> =
  | { readonly reply: R; readonly storeId: number; readonly trouble?: undefined }
  | { readonly reply?: undefined; readonly storeId?: undefined; readonly trouble: string };

/** How often another store is tried, when the one that led leads no more. */
const TRIES = 3;

/**
 * Asks the store that leads the region: the leader as it is known, then whom the answers hint at, then the other peers.
 * @param ask gives an `AskError` back when its store is to be passed over, and throws what ends the search
 */
export async function askLeader<R extends RegionReply>(
  { region, leader }: KnownRegion,
  stores: readonly metapb.Store[],
  ask: (node: string) => Promise<R | AskError>,
): Promise<LeaderAnswer<R>> {
  let trouble = 'its leader is not known';
  let candidates = [...(leader === undefined ? [] : [leader]), ...region.peers].map(({ storeId }) => storeId);
  for (let tries = 0; tries < TRIES; tries++) {
    const [storeId] = candidates;
    if (storeId === undefined) break;
    const node = stores.find(({ id }) => id === storeId)?.address;
    const reply = node === undefined ? undefined : await ask(node);
    candidates = candidates.filter((one) => one !== storeId);
    if (reply === undefined) {
      trouble = `store ${storeId} is not known`;
    } else if (reply instanceof AskError) {
      // No time was left to ask: what came before says more.
      if (tries > 0 && reply.code === 'timeout' && reply.handled === 'no') break;
      trouble = `store ${storeId} did not answer (${reply.message})`;
    } else if (reply.regionError === undefined || !elsewhere(reply.regionError)) {
      return { reply, storeId };
    } else {
      trouble = reply.regionError.message;
      const hint = reply.regionError.notLeader?.leader?.storeId;
      if (hint !== undefined && hint !== storeId)
        candidates = [hint, ...candidates.filter((one) => one !== hint)];
    }
  }
  return { trouble };
}

/** Whether another store may know better. */
function elsewhere(error: errorpb.Error): boolean {
  return (
    error.notLeader !== undefined ||
    error.regionNotFound !== undefined ||
    error.storeNotMatch !== undefined ||
    error.mismatchPeerId !== undefined ||
    error.regionNotInitialized !== undefined ||
    error.RecoveryInProgress !== undefined
  );
}

/**
 * One question, asked.
 * @returns the reply, or why there is none
 * @throws the signal's reason when that is why
 */
export async function settled<R>(asked: Promise<R>, signal: AbortSignal | undefined): Promise<R | AskError> {
  try {
    return await asked;
  } catch (error) {
    if (!(error instanceof AskError)) throw error;
    if (error.code === 'aborted') throw signal?.reason ?? error;
    return error;
  }
}
