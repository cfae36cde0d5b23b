/**
 * Actors that are statecharts: every actor is an XState machine, every message between nodes travels over NATS.
 * The manual is docs/actors.md.
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
export type { Guest, Inspection, InspectionOptions } from './inspection/inspection.js';
export {
  type InspectionKind,
  type InspectionLease,
  MACHINE_KINDS,
  type MachineKind,
} from './inspection/lease.js';
export {
  DEFAULT_WANTED,
  InspectionObserver,
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
export type { Logger } from './logger.js';
export { silentLogger } from './logger.js';
export type { MailboxOptions, Overflow } from './mailbox.js';
export type { FrameFilter, LinkFaults } from './memory-network.js';
export { MemoryNetwork } from './memory-network.js';
export type { Metrics } from './metrics.js';
export { NameClaim } from './nats/claim.js';
export { connectNats } from './nats/connect.js';
export { natsObserver } from './nats/inspection.js';
export type { NatsTransportOptions } from './nats/transport.js';
export { natsTransport } from './nats/transport.js';
export type { Persistence, Step } from './persistence.js';
export type { Random } from './random.js';
export { seededRandom } from './random.js';
export type { ActorRef, AskOptions, Down, DownReason, Outgoing, Received, ReplyOf } from './ref.js';
export type { ReplyTo } from './reply.js';
export type { Directive, Supervision } from './supervision.js';
export { ActorSystem } from './system.js';
export type { ActorContext, ActorSystemOptions, SpawnOptions } from './system-options.js';
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
