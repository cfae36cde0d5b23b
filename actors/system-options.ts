import type { Role } from './addresses.js';
import type { Clock } from './clock.js';
import type { CodecPolicy } from './codecs.js';
import type { InspectionOptions } from './inspection/inspection.js';
import type { Logger } from './logger.js';
import type { Random } from './random.js';
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
