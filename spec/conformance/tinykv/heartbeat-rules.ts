import { readEnvelopes } from '../../../actors/envelopes.js';
import { codecs, type ProtocolEvent } from '../../../cluster/protocol.js';
import { compareBytes } from '../../../storage/keys.js';
import type { metapb } from '../../../storage/proto/index.js';

const KIND = 'pd.regionHeartbeat';

/** What TinyKV's scheduler panics at: what heartbeats must never say of a region, compared with what they said before. */
export class HeartbeatRules {
  readonly #known = new Map<number, metapb.Region>();
  /** Heartbeats that were not stale. */
  taken = 0;

  /** Looks into a frame to the scheduler. @returns what is wrong with it */
  judgeFrame(frame: Uint8Array): string[] {
    const wrong: string[] = [];
    for (const { kind, body } of readEnvelopes(frame)) {
      if (kind !== KIND) continue;
      const heartbeat = codecs.get(KIND)?.decode(body) as ProtocolEvent<typeof KIND> | undefined;
      const region = heartbeat?.region;
      const flaw = region === undefined ? 'a heartbeat without a region' : this.judge(region);
      if (flaw !== undefined) wrong.push(flaw);
    }
    return wrong;
  }

  judge(region: metapb.Region): string | undefined {
    const { id, startKey, endKey } = region;
    if (endKey.length > 0 && compareBytes(startKey, endKey) >= 0) return `region ${id} ends before it starts`;
    const known = this.#known.get(id);
    if (known !== undefined && isStale(region, known)) return undefined;
    this.#known.set(id, region);
    this.taken++;
    return known === undefined ? undefined : misstep(known, region);
  }
}

function isStale(region: metapb.Region, than: metapb.Region): boolean {
  const [now, before] = [epochOf(region), epochOf(than)];
  return now.version < before.version || now.confVer < before.confVer;
}

function misstep(before: metapb.Region, now: metapb.Region): string | undefined {
  const added = namesOf(now).filter((name) => !namesOf(before).includes(name));
  const removed = namesOf(before).filter((name) => !namesOf(now).includes(name));
  const confVers = epochOf(now).confVer - epochOf(before).confVer;
  const versions = epochOf(now).version - epochOf(before).version;
  const isOneChange = added.length + removed.length === 1;
  const isNoChange = added.length + removed.length === 0;
  if (confVers === 0 ? isNoChange : isOneChange || (isNoChange && confVers === 1 && versions === 1))
    return undefined;
  return `region ${now.id} came ${confVers} memberships further with peers ${added} more and ${removed} fewer`;
}

function namesOf({ peers }: metapb.Region): string[] {
  return peers.map(({ id, storeId }) => `${id}@${storeId}`);
}

function epochOf({ regionEpoch }: metapb.Region): metapb.RegionEpoch {
  return regionEpoch ?? { confVer: 0, version: 0 };
}
