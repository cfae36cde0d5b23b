import { throws } from 'node:assert';
import {
  type ConfChange,
  type ConfState,
  decodeConfChange,
  EntryType,
  RaftError,
} from '../../../machines/index.js';
import { entersJoint, leavesJoint } from '../../../machines/raft/conf-change.js';
import { restoreConfiguration, sameConfState, toConfState } from '../../../machines/raft/configuration.js';
import { Inflights } from '../../../machines/raft/inflights.js';
import { Progress, type ProgressState } from '../../../machines/raft/progress.js';
import { Host, PLAIN, voters } from '../../machines/raft/network.js';
import { same, type TableRunner } from './check.js';
import { parseSteps } from './environment.js';

/** Progress, the window of appends under way, and membership changes as data. */

function progress(match: number, next: number): Progress {
  return new Progress(match, next, new Inflights(256, 0));
}

function change(steps: string | number, transition: ConfChange['transition']): ConfChange {
  const changes =
    typeof steps === 'string'
      ? parseSteps(steps)
      : Array.from({ length: steps }, () => ({ kind: 'addVoter' as const, id: 0 }));
  return { transition, changes, context: new Uint8Array(0) };
}

function confState(state: Partial<ConfState>): ConfState {
  return { voters: [], votersOutgoing: [], learners: [], learnersNext: [], autoLeave: false, ...state };
}

export const TABLE_PARTS: Record<string, TableRunner> = {
  progressUpdate: (table: {
    match: number;
    next: number;
    cases: { ack: number; match: number; next: number; ok: boolean }[];
  }) =>
    table.cases.map((test) => () => {
      const member = progress(table.match, table.next);
      same(member.maybeUpdate(test.ack), test.ok, 'news');
      same([member.match, member.next], [test.match, test.next]);
    }),

  progressDecrease: (table: {
    cases: {
      state: ProgressState;
      match: number;
      next: number;
      rejected: number;
      hint: number;
      ok: boolean;
      wantNext: number;
    }[];
  }) =>
    table.cases.map((test) => () => {
      const member = progress(test.match, test.next);
      member.state = test.state;
      same(member.maybeDecrease(test.rejected, test.hint), test.ok, 'genuine');
      same([member.match, member.next], [test.match, test.wantNext]);
    }),

  progressPaused: (table: { cases: { state: ProgressState; flowPaused: boolean; paused: boolean }[] }) =>
    table.cases.map((test) => () => {
      const member = progress(0, 1);
      member.state = test.state;
      member.flowPaused = test.flowPaused;
      same(member.paused, test.paused);
    }),

  inflightsFull: (table: {
    cases: { size: number; maxBytes: number; fullAt: number; freeLE: number; againAt: number }[];
  }) =>
    table.cases.map((test) => () => {
      const window = new Inflights(test.size, test.maxBytes);
      const fill = (from: number, to: number) => {
        for (let i = from; i < to; i++) {
          same(window.full, false, `full at ${i}`);
          window.add(i, 100 + i);
        }
        same(window.full, true, `full at ${to}`);
      };
      fill(0, test.fullAt);
      window.freeThrough(test.freeLE);
      fill(test.fullAt, test.againAt);
      throws(() => window.add(100, 1024));
    }),

  leaveJoint: (table: {
    cases: { transition: ConfChange['transition']; changes: number; leaves: boolean }[];
  }) =>
    table.cases.map((test) => () => {
      same(leavesJoint(change(test.changes, test.transition)), test.leaves);
    }),

  enterJoint: (table: {
    cases: {
      transition: ConfChange['transition'];
      changes: number;
      joint: boolean;
      autoLeave: boolean | null;
    }[];
  }) =>
    table.cases.map((test) => () => {
      const joint = entersJoint(change(test.changes, test.transition));
      same(joint !== undefined, test.joint, 'joint');
      same(joint?.autoLeave ?? null, test.autoLeave, 'auto leave');
    }),

  confStateRestore: (table: { cases: Partial<ConfState>[] }) =>
    table.cases.map((test) => () => {
      const restored = restoreConfiguration(confState(test));
      if (restored instanceof RaftError) throw restored;
      same(sameConfState(toConfState(restored), confState(test)), true);
    }),

  confChangeRoundTrip: (table: {
    start: Partial<ConfState>;
    cases: {
      changes: string;
      transition: ConfChange['transition'];
      want: Partial<ConfState>;
      afterLeave?: Partial<ConfState>;
    }[];
  }) =>
    table.cases.map((test) => () => {
      const host = new Host({ ...PLAIN, id: 1 }, { confState: confState(table.start) });
      host.node.campaign();
      host.settle();
      const proposed = change(test.changes, test.transition);
      same(host.node.proposeConfChange(proposed).ok, true, 'accepted');
      host.settle();
      const entry = host.storage.entries.find(({ type }) => type === EntryType.confChangeV2);
      if (entry === undefined) throw new Error('the change is not in the log');
      same(plain(decodeConfChange(entry)), plain(proposed), 'decoded');
      same(plain(host.confStates[0]), plain(confState(test.want)), 'in force');
      const { afterLeave } = test;
      if (afterLeave === undefined) return;
      if (test.want.autoLeave !== true) {
        host.node.proposeConfChange({ transition: 'auto', changes: [], context: Uint8Array.of(1) });
        host.settle();
      }
      const leave = host.storage.entries.filter(({ type }) => type === EntryType.confChangeV2)[1];
      if (leave === undefined) throw new Error('nothing leaves the joint membership');
      same(decodeConfChange(leave).changes, [], 'leaving');
      // Half of the group exists in the configuration only, so some of these never commit: apply it regardless.
      const left = host.confStates[1] ?? host.node.applyConfChange(decodeConfChange(leave));
      same(plain(left), plain(confState(afterLeave)), 'left');
    }),

  promotable: (table: { self: number; cases: { voters: number[]; promotable: boolean }[] }) =>
    table.cases.map((test) => () => {
      const host = new Host({ ...PLAIN, id: table.self }, { confState: voters(...test.voters) });
      same(host.core.promotable, test.promotable);
    }),

  electionTimeout: (table: { cases: { elapsed: number; probability: number }[] }) =>
    table.cases.map((test) => () => {
      // Every value of the draw once: the share that is over is the probability itself.
      const over = Array.from({ length: 10 }, (_, draw) => {
        const host = new Host(
          { ...PLAIN, id: 1, electionTick: 10, random: () => draw / 10 },
          { confState: voters(1) },
        );
        host.core.electionElapsed = test.elapsed - 1;
        return host.core.electionDue;
      });
      same(over.filter((due) => due).length / 10, test.probability);
    }),
};

function plain(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value));
}
