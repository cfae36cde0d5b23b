/** The machines of this house by the names under which they are drawn. */

import type { AnyStateMachine } from 'xstate';
import {
  deployedActorMachine,
  gcMachine,
  hibernationMachine,
  operatorMachine,
  peerMachine,
  raftMachine,
  recoveringPeerMachine,
  regionMachine,
  schedulerMachine,
  snapshotReceiverMachine,
  snapshotSenderMachine,
  snapshotsMachine,
  storeMachine,
  storeNodeMachine,
  transactionMachine,
} from '../../machines/index.js';
import { schedulerMemberMachine } from '../../machines/scheduler-member.machine.js';

export interface HouseMachine {
  /** As its file is called: `<name>.machine.ts`; Raft's role machine is `raft`. */
  readonly name: string;
  /** What it is a chart of, for a list. */
  readonly line: string;
  readonly machine: AnyStateMachine;
}

/** Every chart of `machines/`, Raft first, then what stands on it. */
export const HOUSE_MACHINES: readonly HouseMachine[] = [
  { name: 'raft', line: 'the part that a peer plays in its Raft group', machine: raftMachine },
  { name: 'hibernation', line: 'whether a Raft group without traffic rests', machine: hibernationMachine },
  { name: 'peer', line: 'one replica of one region on one store', machine: peerMachine },
  {
    name: 'recovering-peer',
    line: 'a peer of a damaged store, until it has what it may have lost',
    machine: recoveringPeerMachine,
  },
  { name: 'store-node', line: "a store's own life, as its process lives it", machine: storeNodeMachine },
  {
    name: 'snapshots',
    line: "where other stores' messages about snapshots arrive",
    machine: snapshotsMachine,
  },
  { name: 'snapshot-sender', line: 'a snapshot on its way to another store', machine: snapshotSenderMachine },
  {
    name: 'snapshot-receiver',
    line: 'a snapshot that comes from another store',
    machine: snapshotReceiverMachine,
  },
  {
    name: 'scheduler',
    line: 'the scheduler, from the first election to placement',
    machine: schedulerMachine,
  },
  { name: 'scheduler-member', line: 'a scheduler among its like', machine: schedulerMemberMachine },
  { name: 'region', line: 'a region as the scheduler sees it', machine: regionMachine },
  { name: 'store', line: 'a store as the scheduler sees it', machine: storeMachine },
  { name: 'gc', line: 'the collector of old versions, round after round', machine: gcMachine },
  { name: 'operator', line: 'a change of a region that the scheduler has begun', machine: operatorMachine },
  {
    name: 'deployed-actor',
    line: "a user's machine that was deployed, in its host's memory",
    machine: deployedActorMachine,
  },
  { name: 'transaction', line: 'a transaction as its client lives it', machine: transactionMachine },
];

/** By its name, or by the id of its machine: `snapshotSender` is `snapshot-sender`. */
export function houseMachine(name: string): HouseMachine | undefined {
  const plain = (text: string): string => text.toLowerCase().replaceAll('-', '');
  return HOUSE_MACHINES.find(
    (known) => plain(known.name) === plain(name) || plain(known.machine.id) === plain(name),
  );
}
