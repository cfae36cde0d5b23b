/** Regions as they are printed: for people, or as JSON. */

import type { RegionInfo, RegionPeerInfo } from '../index.js';
import { bytes, grouped, type Palette, table } from './terminal.js';

/** NDJSON. */
export function regionLines(regions: readonly RegionInfo[]): string {
  return regions.map((region) => JSON.stringify(region)).join('\n');
}

/** A row for each region. */
export function regionTable(regions: readonly RegionInfo[], palette: Palette): string {
  const rows = regions.map((region) => [...cellsOf(region), region.peers.map(peerWord).join(' ')]);
  return table([[...HEADING, 'stores'], ...rows], palette);
}

/** One region, and a row for each of its peers. */
export function regionPage(region: RegionInfo, palette: Palette): string {
  const peers = region.peers.map((peer) => [
    String(peer.store),
    String(peer.id),
    peer.role,
    peer.store === region.leader ? 'leader' : conditionOf(peer).join(', '),
  ]);
  return [
    table([HEADING, cellsOf(region)], palette),
    '',
    table([['store', 'peer', 'role', 'state'], ...peers], palette),
  ].join('\n');
}

/** A region's bound, as a cell of a table. */
export function startText(start: string): string {
  return start === '' ? '(first)' : start;
}

export function endText(end: string): string {
  return end === '' ? '(last)' : end;
}

const HEADING = ['region', 'start', 'end', 'epoch', 'leader', 'size', 'keys'];

function cellsOf(region: RegionInfo): string[] {
  const { id, start, end, epoch, leader, approximateSize, approximateKeys } = region;
  return [
    String(id),
    startText(start),
    endText(end),
    `${epoch.confVer}/${epoch.version}`,
    leader === null ? '-' : String(leader),
    approximateSize === 0 ? '-' : bytes(approximateSize),
    approximateKeys === 0 ? '-' : grouped(approximateKeys),
  ];
}

/** `3`, or with all that is unlike a sound voter `4:learner,pending`. */
function peerWord(peer: RegionPeerInfo): string {
  const words = [...(peer.role === 'voter' ? [] : [peer.role]), ...conditionOf(peer)];
  return words.length === 0 ? String(peer.store) : `${peer.store}:${words.join(',').replaceAll(' ', '')}`;
}

function conditionOf({ pending, downSeconds }: RegionPeerInfo): string[] {
  return [...(pending ? ['pending'] : []), ...(downSeconds > 0 ? [`down ${downSeconds} s`] : [])];
}
