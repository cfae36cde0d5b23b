/**
 * The statecharts that Troupe is made of, Raft first of all. They are pure: time, chance and effects come from outside, so each runs
 * on virtual time, in XState's own tools, or in a program of yours. `troupe chart NAME` draws them.
 *
 * - `RawNode` is a Raft library: `step`, `tick` and `propose` go in, a `Ready` with what is to be sent, stored and applied comes out,
 *   `advance` says that it was done. Semantics, order of messages and the duties of the host are those of etcd-io/raft;
 *   docs/decisions/raft-host-contract.md tells them one by one. Indexes and terms count from 1, and ids of peers are above 0.
 *   Expected outcomes are values (`ProposeResult`, `RaftError`); a broken invariant throws a `RaftInvariantError`, and the peer must stop.
 * - `raftMachine` is the chart inside: follower, preCandidate, candidate, leader.
 * - The other machines are a peer, a region, a store, the scheduler, an operator, a transaction, the two ends of a snapshot, and so on.
 *   Each says in its `…Input` (`…Host`, `…Duties`) what it wants done, and in its `…Event` what it must be told.
 *
 * @module troupe/machines
 */
export * from './deployed-actor.machine.js';
export * from './gc.machine.js';
export * from './hibernation.machine.js';
export * from './operator.machine.js';
export * from './peer.machine.js';
export * from './raft/index.js';
export * from './recovering-peer.machine.js';
export * from './region.machine.js';
export * from './scheduler.machine.js';
export * from './snapshot-receiver.machine.js';
export * from './snapshot-sender.machine.js';
export * from './snapshots.machine.js';
export * from './store.machine.js';
export * from './store-node.machine.js';
export * from './transaction.machine.js';
