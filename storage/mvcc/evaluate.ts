/** The commands of a turn, evaluated together: each goes on when a round of reads for all of them is done. */
import { checkSecondaryLocks } from './check-secondary-locks.js';
import { checkTxnStatus } from './check-txn-status.js';
import { commit } from './commit.js';
import type { Evaluation } from './outcome.js';
import { prewrite } from './prewrite.js';
import { ReadPlan } from './read-plan.js';
import type { MvccReader } from './reader.js';
import type { EvaluationRequest } from './requests.js';
import { resolveLock } from './resolve-lock.js';
import { rollback } from './rollback.js';
import { txnHeartBeat } from './txn-heart-beat.js';
import type { MvccOutcome } from './types.js';

/**
 * What the commands come to, in their order. Their keys must be disjoint (latched), and each must have passed
 * `checkCommand`.
 * @throws StorageError when the engine has failed or a record is damaged: nothing is known about any of them then.
 */
export async function evaluate(
  requests: readonly EvaluationRequest[],
  reader: MvccReader,
): Promise<readonly MvccOutcome[]> {
  const plan = new ReadPlan(reader);
  const outcomes = new Array<MvccOutcome>(requests.length);
  let open = requests.map((request, index) => ({ index, evaluation: begin(request, plan) }));
  for (;;) {
    open = open.filter(({ index, evaluation }) => {
      const step = evaluation.next();
      if (step.done) outcomes[index] = step.value;
      return !step.done;
    });
    if (open.length === 0) return outcomes;
    await plan.read();
  }
}

function begin({ command, commitFloor }: EvaluationRequest, plan: ReadPlan): Evaluation {
  switch (command.kind) {
    case 'prewrite':
      return prewrite(command, commitFloor, plan);
    case 'commit':
      return commit(command, plan);
    case 'rollback':
      return rollback(command, plan);
    case 'checkTxnStatus':
      return checkTxnStatus(command, plan);
    case 'checkSecondaryLocks':
      return checkSecondaryLocks(command, plan);
    case 'resolveLock':
      return resolveLock(command, plan);
    case 'txnHeartBeat':
      return txnHeartBeat(command, plan);
  }
}
