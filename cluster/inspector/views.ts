/**
 * What the page is sent: for each view no more than a screen can show, however large the cluster is. The page asks for a part
 * (rows from here to there) and says what it looks for.
 */

import type { RegionItem } from '../inspection/items.js';
import type { ChartPictures } from './chart-pictures.js';
import { holderOf, shownKey, spacesOf } from './keys.js';
import type { KnownActor } from './known-actors.js';
import type { ClusterModel, Member } from './model.js';
import { SILENT_MS } from './presence.js';

export interface ViewQuery {
  readonly view: string;
  readonly search: string;
  readonly offset: number;
  readonly limit: number;
  readonly region: number;
  readonly address: string;
  readonly txn: string;
  /** Steps of an actor up to this one were sent already. */
  readonly after: number;
}

const MOST_ROWS = 200;
const MOST_FOUND = 200;
/** The key space in the overview strip. */
const STRIP = 240;

export function readQuery(parameters: URLSearchParams): ViewQuery {
  const number = (name: string, least: number, most: number, otherwise: number): number => {
    const given = parameters.get(name);
    const value = given === null || given === '' ? Number.NaN : Number(given);
    return Number.isInteger(value) ? Math.min(most, Math.max(least, value)) : otherwise;
  };
  const text = (name: string): string => (parameters.get(name) ?? '').slice(0, 256);
  return {
    view: text('view') || 'cluster',
    search: text('search'),
    offset: number('offset', 0, 10_000_000, 0),
    limit: number('limit', 1, MOST_ROWS, 60),
    region: number('region', 0, Number.MAX_SAFE_INTEGER, 0),
    address: text('address'),
    txn: text('txn'),
    after: 0,
  };
}

export class Views {
  constructor(
    private readonly model: ClusterModel,
    private readonly charts: ChartPictures,
    private readonly now: () => number,
  ) {}

  /** One view, as plain data. */
  of(query: ViewQuery): object {
    switch (query.view) {
      case 'actors':
        return this.#actors(query);
      case 'raft':
        return this.#raft(query);
      case 'transactions':
        return this.#transactions(query);
      case 'letters':
        return { letters: this.model.letters.all.slice(-MOST_FOUND).reverse() };
      case 'heat':
        return {
          rows: this.model.heat.rows.map((row) => ({ ...row, start: shownKey(row.start) })),
          columns: this.model.heat.columns,
        };
      default:
        return this.#cluster(query);
    }
  }

  /** What stands above every view. */
  summary(): object {
    const { nodes, regions, stores, operators, letters, transactions, actors, placement } = this.model;
    const now = this.now();
    return {
      now,
      nodes: [...nodes].map(([node, { heardAt, lost }]) => ({
        node,
        silent: now - heardAt > SILENT_MS,
        lost,
      })),
      regions: regions.size,
      stores: stores.size,
      operators: operators.size,
      actors: actors.size,
      letters: letters.all.length,
      transactions: transactions.size,
      halted: placement?.halted ?? false,
      schedulers: placement?.schedulers ?? [],
    };
  }

  #cluster({ search, offset, limit }: ViewQuery): object {
    const { stores, operators, moments } = this.model;
    const all = this.model.sortedRegions();
    const found = search === '' ? all : all.filter(matching(search));
    const now = this.now();
    const places = new Map(all.map((region, index) => [region.id, index]));
    return {
      stores: [...stores.values()]
        .sort((a, b) => a.id - b.id)
        .map((store) => {
          const heardAt = this.model.nodes.get(store.node)?.heardAt ?? 0;
          return { ...store, silent: now - heardAt > SILENT_MS };
        }),
      total: found.length,
      offset,
      regions: found.slice(offset, offset + limit).map((region) => {
        const operator = operators.get(region.id);
        const { startHex: _, start, end, ...shown } = region;
        const place = places.get(region.id) ?? 0;
        const neighbours = [all[place - 1], all[place + 1]].flatMap((one) => one?.id ?? []);
        return {
          ...shown,
          start: shownKey(start),
          end: shownKey(end),
          spaces: spacesOf(region),
          neighbours,
          ...(operator === undefined ? {} : { operator: `${operator.steps[operator.step] ?? 'done'}` }),
        };
      }),
      strip: strip(all),
      operators: [...operators.values()].slice(0, 50),
      moments: moments.all.slice(-30).reverse(),
    };
  }

  #actors({ search, address, offset, limit, after }: ViewQuery): object {
    const wanted = search.toLowerCase();
    const all = this.model.actors.sorted();
    const found = wanted === '' ? all : all.filter((actor) => isNamed(actor, wanted));
    const actors = found.slice(offset, offset + limit).map(({ order: _, ...shown }) => shown);
    const total = found.length;
    const trace = address === '' ? undefined : this.model.traces.get(address);
    if (address === '') return { total, offset, actors };
    const actor = this.model.actors.get(address);
    const machine = trace?.machine || actor?.machine || '';
    if (trace?.chart !== undefined) this.charts.learn(machine, trace.chart);
    return {
      total,
      offset,
      actors,
      selected: {
        address,
        // Its place in the list, for who wants to see it there.
        place: actor === undefined ? -1 : found.indexOf(actor),
        machine,
        drawn: this.charts.knows(machine),
        known: actor !== undefined,
        queued: actor?.queued ?? 0,
        restarts: actor?.restarts ?? 0,
        status: actor?.status ?? 'unknown',
        number: trace?.length ?? 0,
        steps: (trace?.steps ?? [])
          .flatMap((step) => (step.number <= after ? [] : [step]))
          .map((step) => ({
            ...step,
            active: step.child === undefined ? this.charts.active(machine, step.value) : [],
          })),
      },
    };
  }

  #raft({ region: asked }: ViewQuery): object {
    const found = this.model.sortedRegions();
    const region = asked > 0 ? this.model.regions.get(asked) : found[0];
    const id = region?.id ?? asked;
    const now = this.now();
    const members = this.model.membersOf(id);
    return {
      total: found.length,
      regions: found.slice(0, MOST_FOUND).map(({ id: one }) => one),
      region: id,
      // Before the scheduler has told of any region, nobody knows of which there are.
      missing: region === undefined && members.length === 0 && found.length > 0,
      start: shownKey(region?.start ?? ''),
      end: shownKey(region?.end ?? ''),
      epoch: region?.epoch ?? '',
      members: members.map((member) => this.#member(member, region, now)),
    };
  }

  #member(member: Member, region: RegionItem | undefined, now: number): object {
    const { node, peer, role, term, lead, first, last, commit, applied, asleep, value, history } = member;
    const silent = now - (this.model.nodes.get(node)?.heardAt ?? 0) > SILENT_MS;
    return {
      ...{ node, peer, role, term, lead, first, last, commit, applied, asleep, silent },
      store: region?.peers.find(({ id }) => id === peer)?.store ?? 0,
      value,
      active: this.charts.active('raft', value ?? role),
      history: history.all,
    };
  }

  #transactions({ search, txn: asked, offset, limit }: ViewQuery): object {
    const all = this.model.transactions.all.filter(
      ({ startTs, steps }) =>
        search === '' || startTs.includes(search) || steps.some(({ key }) => key.includes(search)),
    );
    const selected = asked === '' ? undefined : this.model.transactions.of(asked);
    return {
      total: all.length,
      offset,
      transactions: all
        .slice(offset, offset + limit)
        .map(({ startTs, began, last, outcome, regions, steps }) => ({
          ...{ startTs, began, last, outcome },
          regions: regions.size,
          steps: steps.length,
          key: steps[0]?.key ?? '',
        })),
      ...(selected === undefined ? {} : { selected: { ...selected, regions: [...selected.regions] } }),
    };
  }
}

/** By id, by store, by state, or by a user key that it holds. */
function matching(search: string): (region: RegionItem) => boolean {
  const wanted = search.trim();
  const number = /^(?:region[/ ])?(\d+)$/.exec(wanted)?.[1];
  if (number !== undefined) return ({ id }) => String(id) === number;
  if (wanted.startsWith('store '))
    return ({ peers }) => peers.some(({ store }) => String(store) === wanted.slice(6));
  const holds = holderOf(wanted);
  return (region) => Object.values(region.state).includes(wanted) || holds(region).length > 0;
}

function isNamed({ address, machine, value }: KnownActor, wanted: string): boolean {
  return [address, machine, JSON.stringify(value ?? '')].some((text) => text.toLowerCase().includes(wanted));
}

/** The key space at a glance: for each part who leads, and whether something is wrong. */
function strip(regions: readonly RegionItem[]): object[] {
  const parts = Math.min(STRIP, regions.length);
  const made: { leader: number; regions: number; trouble: boolean; busy: number }[] = [];
  for (const [index, region] of regions.entries()) {
    const at = Math.floor((index * parts) / regions.length);
    const trouble = region.leader === 0 || region.peers.some(({ down, pending }) => down || pending);
    const known = made[at];
    if (known === undefined)
      made[at] = { leader: region.leader, regions: 1, trouble, busy: region.written + region.read };
    else {
      known.regions++;
      known.trouble ||= trouble;
      known.busy += region.written + region.read;
    }
  }
  return made;
}
