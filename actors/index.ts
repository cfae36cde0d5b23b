/**
 * Actors that are statecharts: every actor is an XState machine (or other XState logic), every message between nodes travels
 * over NATS. The manual, with a complete example, is docs/actors.md.
 *
 * - `ActorSystem.start` makes a node; `system.spawn(machine, { path })` puts an actor on it, and `system.ref(address)` names one
 *   on any node.
 * - A ref is told (`tell`: at most once), asked (`ask`: a reply, or an `AskError` at the deadline at the latest), watched and stopped.
 * - `natsTransport` connects nodes over NATS; `MemoryNetwork` with `VirtualClock` and `seededRandom` runs them in one process on
 *   virtual time, where one seed is one history.
 * - Mailboxes are bounded, actors that fail are restarted by their `Supervision`, and what reaches nobody is a `DeadLetter`.
 * - `Inspection` and `InspectionObserver` show what happens, while somebody looks.
 *
 * Times are milliseconds. Nothing here knows of Raft, keys or stores.
 *
 * @module troupe/actors
 */

export type { Address, Lane, Role } from './addresses.js';
export { isName, parseAddress, roleOf, subjectOf } from './addresses.js';
export type { Clock, TimerHandle } from './clock.js';
export { realClock } from './clock.js';
export type { Codec, CodecPolicy, WireEvent } from './codecs.js';
export type { DeadLetter, DeadLetterReason, DeadLetters } from './dead-letters.js';
export type { Envelope } from './envelopes.js';
export { readEnvelopes } from './envelopes.js';
export type { ActorSystemErrorCode, AskErrorCode } from './errors.js';
export { ActorSystemError, AskError } from './errors.js';
export type { ActorInfo, InspectionEvent, Inspector } from './inspection/events.js';
export type { Guest } from './inspection/guests.js';
export type { Inspection, InspectionOptions } from './inspection/inspection.js';
export {
  type InspectionKind,
  type InspectionLease,
  MACHINE_KINDS,
  type MachineKind,
  OTHER_KINDS,
} from './inspection/lease.js';
export {
  DEFAULT_WANTED,
  InspectionObserver,
  type ObserverLink,
  type ObserverOptions,
  type OpenObserverLink,
  type Wanted,
} from './inspection/observer.js';
export { plainOf, REDACTED, type RedactionRule } from './inspection/plain.js';
export type {
  InspectionBatch,
  InspectionRecord,
  LetterRecord,
  LifeRecord,
  MachineRecord,
  NoteRecord,
  ShownSnapshot,
  ShownTransition,
  StateRecord,
} from './inspection/records.js';
export type { StateItem } from './inspection/roll.js';
export type { Logger, LogMethod } from './logger.js';
export { silentLogger } from './logger.js';
export type { MailboxOptions, Overflow } from './mailbox.js';
export type { FrameFilter, FrameInFlight, LinkFaults } from './memory-network.js';
export { MemoryNetwork } from './memory-network.js';
export type { Metrics } from './metrics.js';
export { NameClaim } from './nats/claim.js';
export { connectNats, type NatsServers } from './nats/connect.js';
export { natsObserver } from './nats/inspection.js';
export { NATS_OPTIONS, type NatsTransportOptions, unknownOption } from './nats/options.js';
export type { ServiceOptions } from './nats/service.js';
export { natsTransport } from './nats/transport.js';
export { didYouMean } from './nearest-word.js';
export type { Persistence, Step } from './persistence.js';
export type { Random } from './random.js';
export { seededRandom } from './random.js';
export type { ActorRef, AskOptions, Down, DownReason, Outgoing, Received, ReplyOf } from './ref.js';
export type { ReplyTo } from './reply.js';
export type { Directive, Supervision } from './supervision.js';
export { type ActorContext, ActorSystem, type SpawnOptions } from './system.js';
export type { ActorSystemOptions } from './system-options.js';
export type {
  BulkChannel,
  InspectionChannel,
  OutgoingFrame,
  Transport,
  TransportHost,
  TransportStatus,
} from './transport.js';
export { ProcessClock, VirtualClock } from './virtual-clock.js';
export type { WatchOptions } from './watch.js';
export type { Restorable, RestorableTimer } from './xstate-port.js';
