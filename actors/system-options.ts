import type { AnyActorLogic, AnyEventObject, EventFromLogic, InputFrom } from 'xstate';
import type { Role } from './addresses.js';
import type { Clock } from './clock.js';
import type { CodecPolicy } from './codecs.js';
import type { InspectionOptions } from './inspection/inspection.js';
import type { Logger } from './logger.js';
import type { MailboxOptions } from './mailbox.js';
import type { Persistence } from './persistence.js';
import type { Random } from './random.js';
import type { ActorRef } from './ref.js';
import type { Supervision } from './supervision.js';
import type { ActorSystem } from './system.js';
import type { Transport } from './transport.js';
import type { WatchOptions } from './watch.js';

/** What a node is, and what it is made of. */
export interface ActorSystemOptions {
  /** Nodes of different clusters never hear each other. */
  readonly cluster: string;
  /** Unique in its cluster. A client's name begins with `client-`, a server's does not. */
  readonly node: string;
  /** `client` or `server`, as the name says. */
  readonly role: Role;
  /** Grows with every start of the node; the wall clock's milliseconds when absent. */
  readonly incarnation?: number;
  /** What carries its messages: `natsTransport(…)`, or that of a `MemoryNetwork`. */
  readonly transport: Transport;
  /** Time for timers and deadlines; the real one when absent. */
  readonly clock?: Clock;
  /** Chance for backoff; the real one when absent. */
  readonly random?: Random;
  /** Where it says what goes wrong; nowhere when absent. */
  readonly logger?: Logger;
  /** Whether kinds without a codec may travel, as JSON (`any`, the default). */
  readonly codecs?: CodecPolicy;
  /** Encodes and decodes local messages as remote ones would be. */
  readonly development?: boolean;
  /** Milliseconds that a turn may spend on messages before the event loop has its chance (8). */
  readonly turnBudget?: number;
  /** How many dead letters are kept for people to look at (100). */
  readonly keepDeadLetters?: number;
  /** How often watched nodes are asked, and when one counts as gone. */
  readonly watch?: Partial<WatchOptions>;
  /** Lets inspectors attach over the network; absent, or false: nobody can. */
  readonly inspection?: InspectionOptions | false;
}

/** What an actor's `input` may be made from. */
export interface ActorContext<E extends AnyEventObject = AnyEventObject> {
  /** The actor itself. */
  readonly self: ActorRef<E>;
  /** Its node. */
  readonly system: ActorSystem;
}

/** Where an actor lives, how it begins, and what becomes of it when it fails. */
export interface SpawnOptions<L extends AnyActorLogic> {
  /** Below the node's name, for example `region/17/peer/42`. */
  readonly path: string;
  /** The logic's input, or how to make it: evaluated at the start and at every rebuild. */
  readonly input?: InputFrom<L> | ((context: ActorContext<EventFromLogic<L>>) => InputFrom<L>);
  /** 4096 messages, and the new one is rejected, where nothing is said. */
  readonly mailbox?: Partial<MailboxOptions>;
  /** Where nothing is said: restarted, ten times in a minute at most. */
  readonly supervision?: Partial<Supervision>;
  /** A local actor that this one stops with, and that its failures escalate to. */
  readonly parent?: ActorRef;
  /** `clients`: anyone may stop it; `servers` (the default): no client may. */
  readonly stoppableBy?: 'servers' | 'clients';
  /** Where its state outlives it; absent: nowhere. With one, `restart` and `rebuild` are the same. */
  readonly persistence?: Persistence;
}
