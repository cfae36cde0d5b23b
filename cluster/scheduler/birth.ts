import type { ActorSystem, Logger } from '../../actors/index.js';
import { metapb } from '../../storage/proto/index.js';
import type { troupepb } from '../proto/index.js';
import type { Command, CommandResult, SchedulerState } from './state.js';

/** How long a store may take to make the first region durable before it is asked again. */
const BOOTSTRAP_TIMEOUT_MS = 2_000;

export interface ClusterBirthOptions {
  readonly state: SchedulerState;
  readonly system: ActorSystem;
  readonly logger: Logger;
  /** Replicates a command. */
  readonly propose: (command: Command) => Promise<CommandResult>;
  /** Tries again after a wait, unless this leadership is over by then. */
  readonly later: (attempt: number, again: () => void) => void;
  /** The stores of the first region are written down. */
  readonly chosen: () => void;
  /** Each of them has it. */
  readonly born: () => void;
}

/** How a cluster gets its first region: from the first stores, each of which makes it durable. */
export class ClusterBirth {
  readonly #options: ClusterBirthOptions;
  /** Grows with each leadership, so that what an earlier one began knows that it is over. */
  #reign = 0;
  #placing = false;

  constructor(options: ClusterBirthOptions) {
    this.#options = options;
  }

  resign(): void {
    this.#reign++;
    this.#placing = false;
  }

  /** Asks every store of the first region for it, again and again until each has it. */
  bootstrapStores(): void {
    for (const peer of this.#options.state.unconfirmed) this.#bootstrapStore(peer, this.#reign, 1);
  }

  /** Once enough stores have shown that they carry their ids, the first of them get a voter of region 1 each. */
  placeFirstRegion(): void {
    const { state } = this.#options;
    const wanted = state.cluster?.expectedStores ?? 0;
    if (this.#placing || state.phase !== 'collecting' || wanted === 0) return;
    const ready = [...state.stores.values()]
      .filter((store) => store.nodeState === metapb.NodeState.Serving && store.state === metapb.StoreState.Up)
      .sort((a, b) => a.id - b.id);
    if (ready.length < wanted) return;
    this.#placing = true;
    const reign = this.#reign;
    this.#options
      .propose({ placeFirstRegion: { region: firstRegion(ready.slice(0, wanted)) } })
      .then(() => {
        if (reign === this.#reign) this.#options.chosen();
      })
      .catch((error: unknown) => {
        if (reign !== this.#reign) return;
        this.#options.logger.debug({ err: error }, 'the first region is not placed yet');
        this.#placing = false;
        this.#options.later(1, () => this.placeFirstRegion());
      });
  }

  #bootstrapStore(peer: metapb.Peer, reign: number, attempt: number): void {
    const { state, system, logger } = this.#options;
    const { firstRegion: region, stores } = state;
    const store = stores.get(peer.storeId);
    if (reign !== this.#reign || region === undefined || store === undefined) return;
    const event = { type: 'store.bootstrapRegion', region, peer };
    (system.ref(`${store.address}/store`).ask(event, { timeout: BOOTSTRAP_TIMEOUT_MS }) as Promise<unknown>)
      .then(async (reply) => {
        if (!(reply as troupepb.BootstrapRegionResponse).durable)
          throw new Error('the first region is not durable yet');
        await this.#options.propose({ confirmFirstRegion: { storeId: peer.storeId } });
        if (reign === this.#reign && state.phase === 'serving') this.#options.born();
      })
      .catch((error: unknown) => {
        if (reign !== this.#reign) return;
        logger.debug({ err: error, store: peer.storeId }, 'a store has not confirmed the first region yet');
        this.#options.later(attempt, () => this.#bootstrapStore(peer, reign, attempt + 1));
      });
  }
}

const NO_KEY = new Uint8Array(0);

/** The whole key space, one voter on each store; its ids are below those that windows hand out. */
function firstRegion(stores: readonly metapb.Store[]): metapb.Region {
  return {
    id: 1,
    startKey: NO_KEY,
    endKey: NO_KEY,
    regionEpoch: { confVer: 1, version: 1 },
    peers: stores.map((store, i) => ({ id: i + 2, storeId: store.id, role: metapb.PeerRole.Voter })),
  };
}
