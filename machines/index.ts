export * from './peer.machine.js';
export * from './raft/index.js';
export * from './scheduler.machine.js';
export * from './store.machine.js';
export * from './store-node.machine.js';
