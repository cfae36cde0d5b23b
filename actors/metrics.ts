/** Counters of one system, plain numbers that anything may read at any time. */
export class Metrics {
  turns = 0;
  /** Turns that took longer than twice the budget: something blocks the loop. */
  slowTurns = 0;
  /** Milliseconds. */
  longestTurn = 0;
  /** Messages that actors have handled. */
  messages = 0;
  tells = 0;
  asks = 0;
  askFailures = 0;
  actorsSpawned = 0;
  actorsStopped = 0;
  failures = 0;
  restarts = 0;
  framesSent = 0;
  envelopesSent = 0;
  bytesSent = 0;
  framesReceived = 0;
  envelopesReceived = 0;
  bytesReceived = 0;
  /** Frames lost because there was no connection. */
  framesDropped = 0;
  /** Received frames that were malformed or forged. */
  framesRefused = 0;
  /** Received frames of an incarnation that is gone. */
  framesStale = 0;
  disconnects = 0;
  reconnects = 0;
}
