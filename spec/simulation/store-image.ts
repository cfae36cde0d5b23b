import type { Engine } from '../../storage/index.js';
import { decodeEntry, eraftpb, metapb, raft_serverpb } from '../../storage/proto/index.js';
import {
  GroupRecord,
  groupKey,
  indexOfEntryKey,
  parseRecordKey,
  regionStateKey,
} from '../../storage/raft-keys.js';

/** What a batch does to the Raft groups and regions of a store. */
export type StoreChange =
  | {
      readonly kind: 'entry';
      readonly group: number;
      readonly index: number;
      readonly term: number;
      readonly data: Uint8Array;
    }
  | { readonly kind: 'remove'; readonly group: number; readonly low: number; readonly high: number }
  | { readonly kind: 'hardState'; readonly group: number; readonly term: number; readonly vote: number }
  | {
      readonly kind: 'applyState';
      readonly group: number;
      readonly applied: number;
      readonly truncated: { readonly index: number; readonly term: number };
    }
  | { readonly kind: 'confState'; readonly group: number; readonly voters: Voters }
  /** One of a group's states goes; all of them go together. */
  | { readonly kind: 'groupGone'; readonly group: number }
  | { readonly kind: 'region'; readonly region: number; readonly state: RegionImage }
  /** Its tombstone was collected. */
  | { readonly kind: 'regionGone'; readonly region: number }
  | { readonly kind: 'other' };

/** Whose votes count: of a joint membership, a majority of each half is needed. */
export interface Voters {
  readonly voters: readonly number[];
  /** The half that a joint membership will leave; else empty. */
  readonly outgoing: readonly number[];
}

export interface RegionImage {
  readonly confVer: number;
  readonly version: number;
  readonly state: raft_serverpb.PeerState;
  /** Stored keys; an empty end is open. */
  readonly startKey: Uint8Array;
  readonly endKey: Uint8Array;
  readonly peers: readonly metapb.Peer[];
  /** The store's own peer. */
  readonly peerId: number;
  /** The region that it is being merged into, or was. */
  readonly target: number | undefined;
}

/** A Raft group as it stands on a disk. */
export class GroupImage {
  readonly terms = new Map<number, number>();
  truncated = { index: 0, term: 0 };
  applied = 0;
  term = 0;
  vote = 0;
  voters: Voters = { voters: [], outgoing: [] };

  /** The term of the entry at `index`, `undefined` where that is not known here. */
  termAt(index: number): number | undefined {
    return index === this.truncated.index ? this.truncated.term : this.terms.get(index);
  }

  /** The entry is here, or what it did is part of what a snapshot or compaction left. */
  holds(index: number, term: number): boolean {
    return this.terms.get(index) === term || index <= this.truncated.index;
  }
}

/** All groups and regions of a store, as they stand on its disk. */
export class StoreImage {
  readonly groups = new Map<number, GroupImage>();
  readonly regions = new Map<number, RegionImage>();

  group(id: number): GroupImage {
    let group = this.groups.get(id);
    if (group === undefined) {
      group = new GroupImage();
      this.groups.set(id, group);
    }
    return group;
  }

  /** Whether a peer of a region holds an entry. */
  peerHolds(region: number, peer: number, index: number, term: number): boolean {
    return (
      this.regions.get(region)?.peerId === peer && (this.groups.get(region)?.holds(index, term) ?? false)
    );
  }

  change(change: StoreChange): void {
    switch (change.kind) {
      case 'other':
        return;
      case 'region':
        this.regions.set(change.region, change.state);
        return;
      case 'regionGone':
        this.regions.delete(change.region);
        return;
      case 'groupGone':
        this.groups.delete(change.group);
        return;
      case 'entry':
        this.group(change.group).terms.set(change.index, change.term);
        return;
      case 'hardState': {
        const group = this.group(change.group);
        group.term = change.term;
        group.vote = change.vote;
        return;
      }
      case 'applyState': {
        const group = this.group(change.group);
        group.applied = change.applied;
        group.truncated = change.truncated;
        return;
      }
      case 'confState':
        this.group(change.group).voters = change.voters;
        return;
      case 'remove': {
        const terms = this.groups.get(change.group)?.terms;
        for (const index of terms?.keys() ?? []) {
          if (index >= change.low && index < change.high) terms?.delete(index);
        }
      }
    }
  }

  /** What an engine holds, read without the product's own readers. */
  static async read(engine: Engine): Promise<StoreImage> {
    const image = new StoreImage();
    for (const cf of ['raft', 'log'] as const) {
      const { keys, values } = await engine.scan(cf, { limit: Number.MAX_SAFE_INTEGER });
      for (const [i, key] of keys.entries()) {
        const value = values[i] ?? NO_BYTES;
        image.change(cf === 'raft' ? recordPut(key, value) : entryPut(key, value));
      }
    }
    return image;
  }
}

export const OTHER: StoreChange = { kind: 'other' };
const NO_BYTES = new Uint8Array(0);
const REGION_STATE_KIND = parseRecordKey(regionStateKey(1))?.kind;
/** The byte of a key that tells records of groups from those of regions. */
const SPACE_AT = 1;
const GROUP_SPACE = groupKey(1, GroupRecord.hardState)[SPACE_AT];
const REGION_SPACE = regionStateKey(1)[SPACE_AT];

/** Group ids of a simulation are small: the lower half of the first eight bytes tells them. */
function groupOfEntryKey(key: Uint8Array): number {
  return new DataView(key.buffer, key.byteOffset, key.byteLength).getUint32(4);
}

/** An entry is written to the family `log`. */
export function entryPut(key: Uint8Array, value: Uint8Array): StoreChange {
  const { index, term, data } = decodeEntry(value);
  return { kind: 'entry', group: groupOfEntryKey(key), index, term, data };
}

export function entryDeleted(key: Uint8Array): StoreChange {
  const index = indexOfEntryKey(key);
  return { kind: 'remove', group: groupOfEntryKey(key), low: index, high: index + 1 };
}

/** Entries of one group; a range that ends at the next group's beginning takes all of them. */
export function entriesDeleted(start: Uint8Array, end: Uint8Array): StoreChange {
  const group = groupOfEntryKey(start);
  const high = groupOfEntryKey(end) === group ? indexOfEntryKey(end) : Number.POSITIVE_INFINITY;
  return { kind: 'remove', group, low: indexOfEntryKey(start), high };
}

/** A record is written to the family `raft`. */
export function recordPut(key: Uint8Array, value: Uint8Array): StoreChange {
  const record = parseRecordKey(key);
  if (record === undefined) return OTHER;
  const { id, kind } = record;
  if (key[SPACE_AT] === GROUP_SPACE) return groupPut(id, kind, value);
  if (key[SPACE_AT] !== REGION_SPACE || kind !== REGION_STATE_KIND) return OTHER;
  return { kind: 'region', region: id, state: regionImage(value) };
}

export function recordDeleted(key: Uint8Array): StoreChange {
  const record = parseRecordKey(key);
  if (record === undefined) return OTHER;
  if (key[SPACE_AT] === GROUP_SPACE) return { kind: 'groupGone', group: record.id };
  if (key[SPACE_AT] !== REGION_SPACE || record.kind !== REGION_STATE_KIND) return OTHER;
  return { kind: 'regionGone', region: record.id };
}

function regionImage(value: Uint8Array): RegionImage {
  const { state, region, peerId, mergeState } = raft_serverpb.RegionLocalState.decode(value);
  const { confVer = 0, version = 0 } = region?.regionEpoch ?? {};
  const { startKey = NO_BYTES, endKey = NO_BYTES, peers = [] } = region ?? {};
  return { confVer, version, state, startKey, endKey, peers, peerId, target: mergeState?.target?.id };
}

function groupPut(group: number, kind: number, value: Uint8Array): StoreChange {
  if (kind === GroupRecord.hardState) {
    const { term, vote } = eraftpb.HardState.decode(value);
    return { kind: 'hardState', group, term, vote };
  }
  if (kind === GroupRecord.applyState) {
    const { appliedIndex, truncatedState } = raft_serverpb.RaftApplyState.decode(value);
    const { index = 0, term = 0 } = truncatedState ?? {};
    return { kind: 'applyState', group, applied: appliedIndex, truncated: { index, term } };
  }
  if (kind === GroupRecord.confState) {
    const { voters, votersOutgoing } = eraftpb.ConfState.decode(value);
    return { kind: 'confState', group, voters: { voters, outgoing: votersOutgoing } };
  }
  return OTHER;
}

const { PeerRole } = metapb;

/** Whose votes count by the roles of a region's peers. */
export function votersOfPeers(peers: readonly metapb.Peer[]): Voters {
  const ids = (...roles: metapb.PeerRole[]) =>
    peers.filter(({ role }) => roles.includes(role)).map(({ id }) => id);
  const isJoint = peers.some(
    ({ role }) => role === PeerRole.IncomingVoter || role === PeerRole.DemotingVoter,
  );
  return {
    voters: ids(PeerRole.Voter, PeerRole.IncomingVoter),
    outgoing: isJoint ? ids(PeerRole.Voter, PeerRole.DemotingVoter) : [],
  };
}

/** Whether these decide together. */
export function isQuorum({ voters, outgoing }: Voters, holds: (peer: number) => boolean): boolean {
  return hasMajority(voters, holds) && (outgoing.length === 0 || hasMajority(outgoing, holds));
}

function hasMajority(peers: readonly number[], holds: (peer: number) => boolean): boolean {
  return 2 * peers.filter(holds).length > peers.length;
}
