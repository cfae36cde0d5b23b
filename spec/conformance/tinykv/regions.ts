import type { AnyEventObject } from 'xstate';
import { AskError } from '../../../actors/index.js';
import type { pdpb, troupepb } from '../../../cluster/proto/index.js';
import { peerPath } from '../../../cluster/protocol.js';
import { rawKey } from '../../../storage/index.js';
import { eraftpb, metapb, raft_cmdpb } from '../../../storage/proto/index.js';
import type { Inquirer, TestCluster, TestStore } from './cluster.js';

const { AdminCmdType } = raft_cmdpb;
const { ConfChangeType } = eraftpb;

/** TinyKV's GetRegion. */
const REGION_LOOKS = 100;
const REGION_PAUSE_MS = 20;
/** TinyKV's LeaderOfRegion, and how often and long it waits for a change of members. */
const LOOKS = 500;
const LOOK_PAUSE_MS = 10;
/** Within this a change must be seen at the scheduler: of time in which all stores run and hear each other. */
const CHANGE_MS = 5_000;
/** One try of TinyKV's CallCommandOnLeader. */
const CALL_MS = 1_000;

type AdminCommand = Partial<raft_cmdpb.AdminRequest> & { readonly cmdType: raft_cmdpb.AdminCmdType };
type LedRegion = pdpb.Region & { readonly region: metapb.Region };

/**
 * What TinyKV's cluster does with regions, in its words. The scheduler gives no orders here: who changes a region asks the
 * leader's store, and asks again until the scheduler sees the change.
 */
export class Regions {
  readonly #cluster: TestCluster;
  readonly #inquirer: Inquirer;

  private constructor(cluster: TestCluster, inquirer: Inquirer) {
    this.#cluster = cluster;
    this.#inquirer = inquirer;
  }

  static async of(cluster: TestCluster): Promise<Regions> {
    return new Regions(cluster, await cluster.inquire());
  }

  /** The region that holds a key, as the scheduler has it. */
  async get(key: string): Promise<metapb.Region> {
    const stored = rawKey(Buffer.from(key));
    for (let looks = 0; looks < REGION_LOOKS; looks++) {
      const { region } = await this.#inquirer.scheduler.getRegion(stored);
      if (region !== undefined) return region;
      await this.#cluster.sleep(REGION_PAUSE_MS);
    }
    throw new Error(`the scheduler knows no region of ${key}`);
  }

  /** All regions in the order of their keys. */
  async all(): Promise<metapb.Region[]> {
    const regions: metapb.Region[] = [];
    for (;;) {
      const from = regions.at(-1)?.endKey ?? new Uint8Array(0);
      const page = await this.#inquirer.scheduler.scanRegions(from, new Uint8Array(0), 0);
      regions.push(...page.flatMap(({ region }) => region ?? []));
      if (page.length === 0 || regions.at(-1)?.endKey.length === 0) return regions;
    }
  }

  async random(): Promise<metapb.Region> {
    const regions = await this.all();
    const region = regions[Math.floor(regions.length * this.#cluster.random())];
    if (region === undefined) throw new Error('the scheduler knows no region');
    return region;
  }

  /** The store that leads a region, as the scheduler has it. */
  async leaderOf(regionId: number): Promise<TestStore> {
    for (let looks = 0; looks < LOOKS; looks++) {
      const store = this.#storeOf((await this.#view(regionId)).leader);
      if (store !== undefined) return store;
      await this.#cluster.sleep(LOOK_PAUSE_MS);
    }
    throw new Error(`region ${regionId} has no leader`);
  }

  /** @returns how the leaders that were asked answered */
  async mustTransferLeader(regionId: number, store: TestStore): Promise<troupepb.ChangeRegionResponse[]> {
    const peer = { id: 0, storeId: store.id, role: metapb.PeerRole.Voter };
    const replies: troupepb.ChangeRegionResponse[] = [];
    await this.#mustChange(
      regionId,
      `region ${regionId} must be led from ${store.name}`,
      { cmdType: AdminCmdType.TransferLeader, transferLeader: { peer } },
      ({ leader }) => leader?.storeId === store.id,
      (reply) => {
        replies.push(reply);
      },
    );
    return replies;
  }

  /** @returns the new peer: the store that adds it gives it an id that none had before */
  async mustAddPeer(regionId: number, store: TestStore): Promise<metapb.Peer> {
    const peer = { id: 0, storeId: store.id, role: metapb.PeerRole.Voter };
    await this.#mustChange(
      regionId,
      `region ${regionId} must have a peer on ${store.name}`,
      changeOf(ConfChangeType.AddNode, peer),
      ({ region }) => region.peers.some(({ storeId }) => storeId === store.id),
    );
    return this.peerOn(regionId, store);
  }

  async mustRemovePeer(regionId: number, peer: metapb.Peer): Promise<void> {
    await this.#mustChange(
      regionId,
      `region ${regionId} must not have peer ${peer.id} on store ${peer.storeId}`,
      changeOf(ConfChangeType.RemoveNode, peer),
      ({ region }) => !region.peers.some(({ id }) => id === peer.id),
    );
  }

  /** The peer of a region on a store, as the scheduler has it. */
  async peerOn(regionId: number, store: TestStore): Promise<metapb.Peer> {
    const { region } = await this.#view(regionId);
    const peer = region.peers.find(({ storeId }) => storeId === store.id);
    if (peer === undefined) throw new Error(`region ${regionId} has no peer on ${store.name}`);
    return peer;
  }

  /** Sends one read to a region's leader, whatever region its key is in. TinyKV looks for the leader again for one second. */
  async readOnLeader(
    region: metapb.Region,
    request: troupepb.RegionRequest,
  ): Promise<troupepb.RegionResponses> {
    const { id: regionId, regionEpoch } = region;
    const deadline = this.#cluster.now() + CALL_MS;
    for (;;) {
      const leader = await this.leaderOf(regionId);
      const peer = await this.peerOn(regionId, leader);
      const context = { regionId, regionEpoch, peer, term: 0 };
      const reply = await this.#ask<troupepb.RegionResponses>(
        `${leader.name}/${peerPath(regionId, peer.id)}`,
        {
          type: 'read',
          context,
          requests: [request],
        },
      );
      const { notLeader, staleCommand } = reply?.regionError ?? {};
      if (reply !== undefined && notLeader === undefined && staleCommand === undefined) return reply;
      if (this.#cluster.now() >= deadline) throw new Error(`the leader of region ${regionId} did not answer`);
      await this.#cluster.sleep(LOOK_PAUSE_MS);
    }
  }

  /** Asks whoever leads for a change, again and again, until the scheduler sees it. */
  async #mustChange(
    regionId: number,
    what: string,
    command: AdminCommand,
    isDone: (view: LedRegion) => boolean,
    hear: (reply: troupepb.ChangeRegionResponse) => void = () => {},
  ): Promise<void> {
    let deadline = this.#cluster.now() + CHANGE_MS;
    let last: troupepb.ChangeRegionResponse | undefined;
    for (;;) {
      const view = await this.#view(regionId);
      if (isDone(view)) return;
      if (!this.#cluster.isWhole) deadline = this.#cluster.now() + CHANGE_MS;
      if (this.#cluster.now() >= deadline)
        throw new Error(`${what} within ${CHANGE_MS} ms, and does not: ${JSON.stringify(last)}`);
      const leader = this.#storeOf(view.leader);
      const { id, regionEpoch } = view.region;
      const reply =
        leader &&
        (await this.#ask<troupepb.ChangeRegionResponse>(`${leader.name}/store`, {
          type: 'store.changeRegion',
          context: { regionId: id, regionEpoch, peer: undefined, term: 0 },
          command: raft_cmdpb.AdminRequest.from(command),
          halve: false,
        }));
      if (reply !== undefined) {
        last = reply;
        hear(reply);
      }
      await this.#cluster.sleep(LOOK_PAUSE_MS);
    }
  }

  /** `undefined` when there was no answer: the store is down, or waits for others itself. */
  async #ask<R>(address: string, event: AnyEventObject): Promise<R | undefined> {
    try {
      return (await this.#inquirer.system.ref(address).ask(event, { timeout: CALL_MS })) as R;
    } catch (error) {
      if (error instanceof AskError && error.code !== 'refused') return undefined;
      throw error;
    }
  }

  async #view(regionId: number): Promise<LedRegion> {
    const view = await this.#inquirer.scheduler.getRegionById(regionId);
    const { region } = view;
    if (region === undefined) throw new Error(`the scheduler knows no region ${regionId}`);
    return { ...view, region };
  }

  #storeOf(peer: metapb.Peer | undefined): TestStore | undefined {
    return this.#cluster.stores.find(({ id, node }) => node !== undefined && id === peer?.storeId);
  }
}

function changeOf(changeType: eraftpb.ConfChangeType, peer: metapb.Peer): AdminCommand {
  return { cmdType: AdminCmdType.ChangePeerV2, changePeerV2: { changes: [{ changeType, peer }] } };
}
