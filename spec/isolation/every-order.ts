import type { ListTransaction } from './history.js';

/** A moment of a transaction: its snapshot is taken, or it commits. */
interface Moment {
  readonly transaction: number;
  readonly commits: boolean;
}

type Lists = ReadonlyMap<string, readonly number[]>;

/**
 * Whether some order of snapshots and commits explains a history: found by trying all of them, for histories of a handful
 * of transactions. What the checker says is compared with it.
 */
export function isPossible(history: readonly ListTransaction[]): boolean {
  const undecided = history.flatMap(({ outcome }, index) => (outcome === 'unknown' ? [index] : []));
  for (let choice = 0; choice < 2 ** undecided.length; choice++) {
    const commits = history.map(({ outcome, operations }, index) => {
      const chosen = (choice >> undecided.indexOf(index)) % 2 === 1;
      const writes = operations.some(({ kind }) => kind === 'append');
      return writes && (outcome === 'committed' || (outcome === 'unknown' && chosen));
    });
    const moments = history.flatMap((_, transaction): Moment[] =>
      [false, ...(commits[transaction] === true ? [true] : [])].map((each) => ({
        transaction,
        commits: each,
      })),
    );
    if (explains(history, moments, new Map(), new Map())) return true;
  }
  return false;
}

/** @param snapshots what those who have begun saw, until they commit */
function explains(
  history: readonly ListTransaction[],
  left: readonly Moment[],
  lists: Lists,
  snapshots: ReadonlyMap<number, Lists>,
): boolean {
  if (left.length === 0) return true;
  return left.some((moment) => {
    const { transaction, commits } = moment;
    const one = history[transaction];
    if (one === undefined || left.some((other) => mustPrecede(history, other, moment))) return false;
    const rest = left.filter((other) => other !== moment);
    if (!commits) {
      if (!sawThis(one, lists)) return false;
      return explains(history, rest, lists, new Map([...snapshots, [transaction, lists]]));
    }
    const appended = new Map(lists);
    for (const operation of one.operations) {
      if (operation.kind !== 'append') continue;
      const { key, element } = operation;
      // Of two that write one key only the first commits.
      if (lists.get(key) !== snapshots.get(transaction)?.get(key)) return false;
      appended.set(key, [...(appended.get(key) ?? []), element]);
    }
    return explains(history, rest, appended, snapshots);
  });
}

/** A snapshot before its commit, and both before the snapshot of who begins after the client has heard. */
function mustPrecede(history: readonly ListTransaction[], first: Moment, second: Moment): boolean {
  if (first.transaction === second.transaction) return !first.commits && second.commits;
  const [one, other] = [history[first.transaction], history[second.transaction]];
  if (one === undefined || other === undefined || second.commits) return false;
  return one.complete < other.invoke && !(first.commits && one.outcome === 'unknown');
}

function sawThis({ operations }: ListTransaction, lists: Lists): boolean {
  const mine = new Map(lists);
  return operations.every((operation) => {
    const list = mine.get(operation.key) ?? [];
    if (operation.kind === 'append') {
      mine.set(operation.key, [...list, operation.element]);
      return true;
    }
    return operation.list.length === list.length && operation.list.every((element, i) => list[i] === element);
  });
}
