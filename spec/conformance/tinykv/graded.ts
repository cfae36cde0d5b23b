/** TinyKV's parts, and how many graded tests each has. */
export const GRADED = {
  '1': 10,
  '2AA': 24,
  '2AB': 26,
  '2AC': 2,
  '2B': 11,
  '2C': 13,
  '3A': 16,
  '3B': 16,
  '3C': 22,
  '4A': 15,
  '4B': 24,
  '4C': 22,
} as const;
export type Part = keyof typeof GRADED;

/** Names of the tests of parts that stand in several files, so that a report can say which are missing. */
export const NAMES: Partial<Record<Part, readonly string[]>> = {
  '2C': [
    'TestRestoreSnapshot2C',
    'TestRestoreIgnoreSnapshot2C',
    'TestProvideSnap2C',
    'TestRestoreFromSnapMsg2C',
    'TestRestoreFromSnapWithOverlapingPeersMsg2C',
    'TestSlowNodeRestore2C',
    'TestRawNodeRestartFromSnapshot2C',
    'TestOneSnapshot2C',
    'TestSnapshotRecover2C',
    'TestSnapshotRecoverManyClients2C',
    'TestSnapshotUnreliable2C',
    'TestSnapshotUnreliableRecover2C',
    'TestSnapshotUnreliableRecoverConcurrentPartition2C',
  ],
  '3A': [
    'TestAddNode3A',
    'TestRemoveNode3A',
    'TestCommitAfterRemoveNode3A',
    'TestLeaderTransferToUpToDateNode3A',
    'TestLeaderTransferToUpToDateNodeFromFollower3A',
    'TestLeaderTransferToSlowFollower3A',
    'TestLeaderTransferAfterSnapshot3A',
    'TestLeaderTransferToSelf3A',
    'TestLeaderTransferToNonExistingNode3A',
    'TestLeaderTransferReceiveHigherTermVote3A',
    'TestLeaderTransferRemoveNode3A',
    'TestLeaderTransferBack3A',
    'TestLeaderTransferSecondTransferToAnotherNode3A',
    'TestTransferNonMember3A',
    'TestRawNodeProposeAndConfChange3A',
    'TestRawNodeProposeAddDuplicateNode3A',
  ],
  '3B': [
    'TestTransferLeader3B',
    'TestBasicConfChange3B',
    'TestConfChangeRemoveLeader3B',
    'TestConfChangeRecover3B',
    'TestConfChangeRecoverManyClients3B',
    'TestConfChangeUnreliable3B',
    'TestConfChangeUnreliableRecover3B',
    'TestConfChangeSnapshotUnreliableRecover3B',
    'TestConfChangeSnapshotUnreliableRecoverConcurrentPartition3B',
    'TestOneSplit3B',
    'TestSplitRecover3B',
    'TestSplitRecoverManyClients3B',
    'TestSplitUnreliable3B',
    'TestSplitUnreliableRecover3B',
    'TestSplitConfChangeSnapshotUnreliableRecover3B',
    'TestSplitConfChangeSnapshotUnreliableRecoverConcurrentPartition3B',
  ],
};

/** Parts with tests of whole clusters, which run on virtual time or over NATS and RocksDB. */
export const OF_CLUSTERS: ReadonlySet<Part> = new Set(['2B', '2C', '3B']);
