import { type metapb, raft_cmdpb } from '../../storage/proto/index.js';
import type { RegionHash } from './consistency.js';
import type { RegionReplica } from './replica.js';

const { AdminCmdType } = raft_cmdpb;
const NO_BYTES = new Uint8Array(0);

/** One replica's part in a check. */
export interface ReplicaHash {
  readonly peer: metapb.Peer;
  /** `undefined` when it could not be had: its store is away, or lags too far behind. */
  readonly hash: Uint8Array | undefined;
}

export interface RegionCheck {
  /** Log index at which the data was looked at. */
  readonly index: number;
  /** What most replicas hold; `undefined` when no majority agrees. */
  readonly hash: Uint8Array | undefined;
  readonly replicas: readonly ReplicaHash[];
}

/** Asks another store for its replica's hash at an index; `undefined` when it says nothing in time. */
export type AskHash = (
  region: metapb.Region,
  peer: metapb.Peer,
  index: number,
) => Promise<Uint8Array | undefined>;

/** The leader could not run a check: it leads no longer, or too much is under way. */
export class CheckRefusedError extends Error {
  override readonly name = 'CheckRefusedError';
}

/**
 * Compares the replicas of a region that `replica` leads: all hash their data as one entry of the log finds it. Where most
 * agree and one differs, the others are believed: a second entry stops the one.
 * @throws CheckRefusedError
 */
export async function checkRegion(replica: RegionReplica, ask: AskHash): Promise<RegionCheck> {
  const { region, peer } = replica;
  const index = await new Promise<number>((resolve, reject) => {
    const command = { cmdType: AdminCmdType.ComputeHash, computeHash: { context: NO_BYTES } };
    // Every replica computes the hash of its data as the entry finds it; the result is the entry's index.
    replica.proposeAdmin(command, (outcome) => {
      if (outcome.ok) resolve(outcome.result as number);
      else reject(new CheckRefusedError(`region ${region.id} could not be checked here: ${outcome.code}`));
    });
  });
  const own = new Promise<RegionHash | undefined>((resolve) => {
    replica.consistency.whenComputed(index, resolve);
  });
  const hashes = await Promise.all(
    region.peers.map((one) =>
      one.id === peer.id ? own.then((result) => result?.hash) : ask(region, one, index),
    ),
  );
  const replicas = region.peers.map((one, i): ReplicaHash => ({ peer: one, hash: hashes[i] }));
  const agreed = majorityOf(replicas);
  if (agreed !== undefined && replicas.some(({ hash }) => hash !== undefined && !equal(hash, agreed))) {
    const verifyHash = { index, hash: agreed, context: NO_BYTES };
    replica.proposeAdmin({ cmdType: AdminCmdType.VerifyHash, verifyHash }, () => {});
  }
  return { index, hash: agreed, replicas };
}

/** The hash that more than half of all replicas have, those that said nothing included. */
export function majorityOf(replicas: readonly ReplicaHash[]): Uint8Array | undefined {
  for (const { hash } of replicas) {
    if (hash === undefined) continue;
    const agreeing = replicas.filter((one) => one.hash !== undefined && equal(one.hash, hash)).length;
    if (2 * agreeing > replicas.length) return hash;
  }
  return undefined;
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}
