export { type MeasuredNode, type NodeLabels, NodeMetrics } from './metrics.js';
export { type OperationsPages, type OperationsServer, serveOperations } from './server.js';
