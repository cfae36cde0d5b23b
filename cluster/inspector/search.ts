/** One search over everything that has a name: actors, regions, transactions. What is called so exactly comes first. */

import { holderOf, keyName } from './keys.js';
import type { KnownActor } from './known-actors.js';
import type { ClusterModel } from './model.js';
import type { Found, SearchView, Space } from './shown.js';

const MOST = 30;

/** How well something fits: the smaller the better. */
const RANK = { exact: 0, named: 1, begins: 2, within: 3, machine: 4, state: 5 } as const;

/** @param text what somebody looks for: a part of a name, a region's id, a start timestamp, a user key */
export function searchModel(model: ClusterModel, text: string): SearchView {
  const wanted = text.trim().toLowerCase();
  if (wanted === '') return { total: 0, found: [], places: [] };
  const ranked: { readonly rank: number; readonly found: () => Found }[] = [];
  for (const actor of model.actors.sorted()) {
    const rank = rankOfActor(actor, wanted);
    if (rank !== undefined) ranked.push({ rank, found: () => actorFound(actor) });
  }
  const id = Number(/^(?:region[/ ]?)?(\d+)$/.exec(wanted)?.[1] ?? Number.NaN);
  const holds = holderOf(text.trim());
  const places: (Found & { readonly space: Space })[] = [];
  for (const region of model.sortedRegions()) {
    const state = Object.values(region.state).find((one) => one.toLowerCase() === wanted);
    const found = (detail: string): Found => ({
      kind: 'region',
      name: `region ${region.id}`,
      detail,
      hash: `#/raft/${region.id}`,
    });
    const range = (): string =>
      `from ${keyName(region.start)} to ${region.end === '' ? 'the last key' : keyName(region.end)}`;
    if (region.id === id) ranked.push({ rank: RANK.exact, found: () => found(range()) });
    else if (state !== undefined)
      ranked.push({ rank: RANK.state, found: () => found(`${state}, ${range()}`) });
    for (const space of holds(region)) places.push({ ...found(range()), space });
  }
  for (const { startTs, outcome, steps } of model.transactions.all) {
    const keys = steps.map(({ key }) => key.toLowerCase());
    const rank =
      startTs === wanted
        ? RANK.exact
        : keys.includes(wanted)
          ? RANK.named
          : startTs.startsWith(wanted)
            ? RANK.begins
            : keys.some((key) => key.includes(wanted))
              ? RANK.within
              : undefined;
    if (rank === undefined) continue;
    const detail = [outcome, steps[0]?.key ?? ''].filter((part) => part !== '').join(' · ');
    ranked.push({
      rank,
      found: () => ({
        kind: 'transaction',
        name: `transaction ${startTs}`,
        detail,
        hash: `#/transactions/${startTs}`,
      }),
    });
  }
  // Sorting is stable: within a rank the order of names stays.
  const found = ranked
    .sort((a, b) => a.rank - b.rank)
    .slice(0, MOST)
    .map((one) => one.found());
  return { total: ranked.length, found, places };
}

function rankOfActor({ address, machine, value }: KnownActor, wanted: string): number | undefined {
  const name = address.toLowerCase();
  const last = name.slice(name.lastIndexOf('/') + 1);
  if (name === wanted || last === wanted) return RANK.exact;
  if (`/${name}/`.includes(`/${wanted}/`)) return RANK.named;
  if (last.startsWith(wanted)) return RANK.begins;
  if (name.includes(wanted)) return RANK.within;
  if (machine.toLowerCase() === wanted) return RANK.machine;
  const state = typeof value === 'string' ? value : JSON.stringify(value ?? '');
  return state.toLowerCase().includes(wanted) ? RANK.state : undefined;
}

function actorFound({ address, machine, status }: KnownActor): Found {
  return {
    kind: 'actor',
    name: address,
    detail: machine || status,
    hash: `#/actors/${encodeURIComponent(address)}`,
  };
}
