import { ActorSystem, type MemoryNetwork, type Random, type VirtualClock } from '../../actors/index.js';
import { SchedulerClient } from '../../cluster/pd-client.js';
import type { troupepb } from '../../cluster/proto/index.js';
import { codecs, type ProtocolEvent } from '../../cluster/protocol.js';
import type { RegionReplica } from '../../cluster/store/replica.js';
import { compareBytes } from '../../storage/keys.js';
import { type metapb, raft_cmdpb } from '../../storage/proto/index.js';
import type { StoreMachine } from './store-groups.js';
import type { Trace } from './trace.js';

export interface OperatorParts {
  readonly cluster: string;
  readonly scheduler: string;
  readonly stores: readonly StoreMachine[];
  readonly network: MemoryNetwork;
  readonly world: VirtualClock;
  readonly random: Random;
  readonly trace: Trace;
}

/** A region as its leader has it. */
export interface LedRegion {
  readonly region: metapb.Region;
  /** Where it is led. */
  readonly store: string;
  readonly merging: boolean;
  /** A change is being prepared, or is in its log and not applied. */
  readonly changing: boolean;
}

export type Change = ProtocolEvent<'store.changeRegion'>;
export type AdminCommand = Partial<raft_cmdpb.AdminRequest> & {
  readonly cmdType: raft_cmdpb.AdminCmdType;
};

/** The node from which regions are changed. */
export const OPERATOR = 'client-operator';
const ASK_TIMEOUT_MS = 2_000;
/** Requests that may be sent a second time. */
const REMEMBERED = 32;

/**
 * Somebody who changes regions: looks where they are led with the eyes of the simulation, and asks as anybody would, over
 * the network, with replies that may be lost.
 */
export class RegionOperator {
  readonly counts = { changesAsked: 0, changesDone: 0, changesRefused: 0, changesUnheard: 0 };
  readonly #parts: OperatorParts;
  readonly #asked: { readonly store: string; readonly change: Change }[] = [];
  #system: ActorSystem | undefined;
  #scheduler: SchedulerClient | undefined;

  constructor(parts: OperatorParts) {
    this.#parts = parts;
  }

  async start(): Promise<void> {
    const { cluster, scheduler, network, world: clock, random } = this.#parts;
    const transport = network.transport(OPERATOR);
    const system = await ActorSystem.start({
      cluster,
      node: OPERATOR,
      role: 'client',
      transport,
      clock,
      random,
      codecs: 'registered-only',
    });
    for (const [kind, codec] of codecs) system.registerCodec(kind, codec);
    this.#scheduler = new SchedulerClient({ system, cluster, schedulers: [scheduler], clock, random });
    this.#system = system;
  }

  /** There once it has started. */
  get scheduler(): SchedulerClient | undefined {
    return this.#scheduler;
  }

  async close(): Promise<void> {
    await this.#system?.close();
  }

  /** Regions that have a leader, in order of their keys. */
  led(): LedRegion[] {
    const led = new Map<number, { readonly term: number; readonly found: LedRegion }>();
    for (const { name, node } of this.#parts.stores) {
      for (const replica of node?.replicas.values() ?? []) {
        if (!replica.initialised || !leads(replica)) continue;
        const { region, mergeState } = replica;
        const { term } = replica.group;
        const [merging, changing] = [mergeState !== undefined, replica.changes.isUnderWay];
        if ((led.get(region.id)?.term ?? 0) >= term) continue;
        led.set(region.id, { term, found: { region, store: name, merging, changing } });
      }
    }
    return [...led.values()]
      .map(({ found }) => found)
      .sort((a, b) => compareBytes(a.region.startKey, b.region.startKey) || a.region.id - b.region.id);
  }

  find(id: number): LedRegion | undefined {
    return this.led().find(({ region }) => region.id === id);
  }

  /** Asks the leader of a region as it is now. @returns `undefined` when nobody leads it or nothing was heard */
  async change(
    { region, store }: Pick<LedRegion, 'region' | 'store'>,
    command: AdminCommand,
    halve = false,
  ): Promise<troupepb.ChangeRegionResponse | undefined> {
    return this.ask(store, {
      type: 'store.changeRegion',
      context: { regionId: region.id, regionEpoch: region.regionEpoch, peer: undefined, term: 0 },
      command: raft_cmdpb.AdminRequest.from(command),
      halve,
    });
  }

  async ask(store: string, change: Change): Promise<troupepb.ChangeRegionResponse | undefined> {
    const system = this.#system;
    if (system === undefined) return undefined;
    this.counts.changesAsked++;
    this.#asked.push({ store, change });
    if (this.#asked.length > REMEMBERED) this.#asked.shift();
    const { trace } = this.#parts;
    const regionId = change.context?.regionId ?? 0;
    const what = `change of region ${regionId} at ${store}: ${describe(change)}`;
    trace.event(what);
    try {
      const reply = (await system
        .ref(`${store}/store`)
        .ask(change, { timeout: ASK_TIMEOUT_MS })) as troupepb.ChangeRegionResponse;
      const why = reply.regionError?.message ?? reply.refusal?.message;
      if (why === undefined) this.counts.changesDone++;
      else this.counts.changesRefused++;
      trace.event(`${what}: ${why ?? 'done'}`);
      return reply;
    } catch (error) {
      this.counts.changesUnheard++;
      trace.event(`${what}: ${String(error)}`);
      return undefined;
    }
  }

  /** Something that was asked before, as it was asked then. */
  asked(random: Random): { readonly store: string; readonly change: Change } | undefined {
    return this.#asked[Math.floor(random() * this.#asked.length)];
  }

  /** All regions that the scheduler knows, in order. @throws TroupeError when it does not answer */
  async scan(): Promise<metapb.Region[]> {
    const scheduler = this.#scheduler;
    if (scheduler === undefined) return [];
    const found = await scheduler.scanRegions(NO_KEY, NO_KEY, 0);
    return found.flatMap(({ region }) => (region === undefined ? [] : [region]));
  }
}

const NO_KEY = new Uint8Array(0);

function leads(replica: RegionReplica): boolean {
  return replica.attached && replica.group.isLeader;
}

function describe({ command, halve }: Change): string {
  if (command === undefined) return 'nothing';
  const { cmdType, splits, changePeerV2, prepareMerge, transferLeader } = command;
  if (halve) return 'halve';
  if (splits !== undefined) {
    const keys = splits.requests.map(({ splitKey }) => Buffer.from(splitKey).toString());
    return `split at ${keys.join(' ')}${splits.rightDerive ? ' from the right' : ''}`;
  }
  if (prepareMerge !== undefined) return `merge into ${prepareMerge.target?.id}`;
  if (transferLeader !== undefined) return `lead from ${transferLeader.peer?.storeId}`;
  if (changePeerV2 === undefined) return `command ${cmdType}`;
  const changes = changePeerV2.changes.map(
    ({ changeType, peer }) => `${CHANGES[changeType]} ${peer?.id} on ${peer?.storeId}`,
  );
  return changes.length === 0 ? 'leave' : changes.join(', ');
}

const CHANGES = ['add', 'remove', 'learner'] as const;
