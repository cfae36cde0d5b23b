import {
  type ConfChange,
  type MemberChange,
  type Message,
  type MessageType,
  makeMessage,
  type RaftError,
  type Snapshot,
} from '../../../machines/index.js';
import { EMPTY_SNAPSHOT } from '../../machines/raft/memory-storage.js';
import { type Arg, type Case, idsOf, parseDirective, valuesOf } from './datadriven.js';
import {
  formatAppend,
  formatApply,
  formatEntries,
  formatMessage,
  formatProgress,
  formatReady,
  messageType,
  roleName,
  STEP_LETTERS,
} from './format.js';
import { ELECTION_TICK, HEARTBEAT_TICK, InteractionPeer, peerOptions } from './interaction-peer.js';

/** A whole group driven by the commands of etcd's interaction files. */
export class InteractionEnvironment {
  private readonly peers: InteractionPeer[] = [];
  /** Sent and not yet delivered, in the order of sending. */
  private messages: Message[] = [];
  private output = '';
  private quiet = false;

  /** `maxCachedBytes` 0 makes the peers read every entry back from storage. */
  constructor(private readonly maxCachedBytes = Number.POSITIVE_INFINITY) {}

  /** Runs a case. Returns what etcd's harness prints, without log lines. */
  run(test: Case): string {
    this.output = '';
    let failure = '';
    try {
      if (test.command === 'propose-conf-change') {
        this.proposeConfChange(test.args, test.input);
      } else {
        this.execute(test.command, test.args);
        for (const line of test.input.split('\n').filter((text) => text !== '')) {
          const { command, args } = parseDirective(line, test.line);
          this.execute(command, args);
        }
      }
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      failure = error.message;
    }
    if (failure !== '' && this.quiet) return failure;
    const output = this.output + failure;
    return output === '' ? 'ok' : output;
  }

  private execute(command: string, args: readonly Arg[]): void {
    const ids = idsOf(args);
    const first = () => this.peer(ids[0] as number);
    switch (command) {
      case '_breakpoint':
        return;
      case 'add-nodes':
        return this.addNodes(ids[0] as number, args);
      case 'campaign':
        first().act((node) => node.campaign());
        return;
      case 'propose': {
        const data = new TextEncoder().encode((args[1] as Arg).key);
        const result = first().act((node) => node.propose(data));
        if (!result.ok) throw asEtcdError(result.error);
        return;
      }
      case 'process-ready':
        return this.each(ids, 'handling Ready', (peer) => this.processReady(peer));
      case 'process-append-thread':
        return this.each(ids, 'processing append thread', (peer) => this.processAppendThread(peer));
      case 'process-apply-thread':
        return this.each(ids, 'processing apply thread', (peer) => this.processApplyThread(peer));
      case 'deliver-msgs':
        return this.deliverCommand(args);
      case 'stabilize':
        return this.stabilizeCommand(ids, args);
      case 'tick-election':
        return this.tick(first(), ELECTION_TICK);
      case 'tick-heartbeat':
        return this.tick(first(), HEARTBEAT_TICK);
      case 'set-randomized-election-timeout': {
        const { core } = first().node.actor.getSnapshot().context;
        core.randomizedElectionTimeout = Number(valuesOf(args, 'timeout')[0]);
        return;
      }
      case 'transfer-leadership': {
        const [from, to] = [valuesOf(args, 'from')[0], valuesOf(args, 'to')[0]].map(Number);
        this.peer(from as number).act((node) => node.transferLeader(to as number));
        return;
      }
      case 'forget-leader':
        first().act((node) => node.forgetLeader());
        return;
      case 'report-unreachable':
        first().act((node) => node.reportUnreachable(ids[1] as number));
        return;
      case 'send-snapshot':
        return this.sendSnapshot(first(), ids[1] as number);
      case 'compact': {
        const index = ids[1] as number;
        const term = first().storage.compact(index);
        first().act((node) => node.compact(index, term));
        return this.printLog(first());
      }
      case 'raft-log':
        return this.printLog(first());
      case 'raft-state':
        return this.printStates();
      case 'status':
        for (const [id, progress] of first().node.status().progress)
          this.print(`${formatProgress(id, progress)}\n`);
        return;
      case 'log-level':
        return this.setLogLevel((args[0] as Arg).key);
      default:
        throw new CommandError(`unknown command ${command}`);
    }
  }

  // Commands

  private addNodes(count: number, args: readonly Arg[]): void {
    const value = (key: string) => valuesOf(args, key)[0];
    const bootstrapped = ['voters', 'learners', 'index', 'content'].some((key) => value(key) !== undefined);
    const snapshot: Snapshot = bootstrapped
      ? {
          index: Number(value('index') ?? 0),
          term: 1,
          confState: {
            voters: valuesOf(args, 'voters').map(Number),
            votersOutgoing: [],
            learners: valuesOf(args, 'learners').map(Number),
            learnersNext: [],
            autoLeave: false,
          },
          data: new TextEncoder().encode(value('content') ?? ''),
        }
      : EMPTY_SNAPSHOT;
    if (bootstrapped && snapshot.index <= 1)
      throw new CommandError('index must be specified as > 1 due to bootstrap');
    for (let i = 0; i < count; i++) {
      const id = this.peers.length + 1;
      this.peers.push(new InteractionPeer(peerOptions(id, args, this.maxCachedBytes), snapshot));
    }
  }

  private proposeConfChange(args: readonly Arg[], input: string): void {
    const transition = (valuesOf(args, 'transition')[0] ?? 'auto') as ConfChange['transition'];
    const v1 = valuesOf(args, 'v1')[0] === 'true';
    const changes = parseSteps(input);
    if (v1 && (changes.length > 1 || transition !== 'auto')) {
      throw new CommandError('v1 conf change can only have one operation and no transition');
    }
    const change: ConfChange = { transition, changes, context: new Uint8Array(0) };
    const result = this.peer(idsOf(args)[0] as number).act((node) =>
      node.proposeConfChange(change, v1 ? 'v1' : 'v2'),
    );
    if (!result.ok) throw asEtcdError(result.error);
  }

  private processReady(peer: InteractionPeer): void {
    const ready = peer.act((node) => node.ready());
    this.print(formatReady(peer.id, ready));
    if (!peer.asynchronous) {
      peer.persist(ready);
      peer.apply(ready.committedEntries);
    }
    this.messages.push(...ready.messages);
    if (ready.append !== undefined) peer.appendWork.push(ready.append);
    if (ready.apply !== undefined) peer.applyWork.push(ready.apply);
    if (!peer.asynchronous) peer.act((node) => node.advance());
  }

  private processAppendThread(peer: InteractionPeer): void {
    const work = peer.appendWork.shift();
    if (work === undefined) return this.print('no append work to perform');
    this.print(`Processing:\n${formatAppend(peer.id, work, false)}\n`);
    peer.persist(work);
    this.respond(work.responses);
  }

  private processApplyThread(peer: InteractionPeer): void {
    const work = peer.applyWork.shift();
    if (work === undefined) return this.print('no apply work to perform');
    this.print(`Processing:\n${formatApply(peer.id, work, false)}\n`);
    peer.apply(work.entries);
    this.respond(work.responses);
  }

  private respond(responses: readonly Message[]): void {
    this.print(`Responses:\n${responses.map((message) => `${formatMessage(message)}\n`).join('')}`);
    this.messages.push(...responses);
  }

  private deliverCommand(args: readonly Arg[]): void {
    const type = valuesOf(args, 'type')[0];
    const only = type === undefined ? undefined : messageType(type);
    if (type !== undefined && only === undefined) throw new CommandError(`unknown message type ${type}`);
    const recipients = args.flatMap(({ key, values }) => {
      if (values.length === 0) return [{ id: Number(key), drop: false }];
      return key === 'drop' ? values.map((id) => ({ id: Number(id), drop: true })) : [];
    });
    let handled = 0;
    for (const { id, drop } of recipients) handled += this.deliver(id, drop, only);
    if (handled === 0) this.print('no messages\n');
  }

  private deliver(to: number, drop: boolean, only: MessageType | undefined): number {
    const taken = this.messages.filter((message) => isFor(message, to, drop, only));
    this.messages = this.messages.filter((message) => !isFor(message, to, drop, only));
    for (const message of taken) {
      this.print(`${drop ? 'dropped: ' : ''}${formatMessage(message)}\n`);
      if (drop) continue;
      const error = this.peer(to).act((node) => node.step(message));
      if (error === undefined) continue;
      const known = asEtcdError(error, false);
      if (known !== undefined) this.print(`${known.message}\n`);
    }
    return taken.length;
  }

  private stabilizeCommand(ids: readonly number[], args: readonly Arg[]): void {
    const level = valuesOf(args, 'log-level')[0];
    const before = this.quiet;
    if (level !== undefined) this.setLogLevel(level);
    try {
      this.stabilize(ids.length > 0 ? ids.map((id) => this.peer(id)) : this.peers);
    } finally {
      this.quiet = before;
    }
  }

  private stabilize(peers: readonly InteractionPeer[]): void {
    for (let busy = true; busy; ) {
      busy = false;
      const section = (peer: InteractionPeer, title: string, work: () => void) => {
        busy = true;
        this.print(`> ${peer.id} ${title}\n`);
        this.indented(work);
      };
      for (const peer of peers) {
        if (peer.node.hasReady()) section(peer, 'handling Ready', () => this.processReady(peer));
      }
      for (const peer of peers) {
        if (this.messages.some((message) => message.to === peer.id)) {
          section(peer, 'receiving messages', () => this.deliver(peer.id, false, undefined));
        }
      }
      for (const peer of peers) {
        if (peer.appendWork.length === 0) continue;
        section(peer, 'processing append thread', () => {
          while (peer.appendWork.length > 0) this.processAppendThread(peer);
        });
      }
      for (const peer of peers) {
        if (peer.applyWork.length === 0) continue;
        section(peer, 'processing apply thread', () => {
          while (peer.applyWork.length > 0) this.processApplyThread(peer);
        });
      }
    }
  }

  private tick(peer: InteractionPeer, times: number): void {
    for (let i = 0; i < times; i++) peer.act((node) => node.tick());
  }

  private sendSnapshot(from: InteractionPeer, to: number): void {
    const { snapshot } = from;
    const message = makeMessage({
      type: 'installSnapshot',
      from: from.id,
      to,
      term: from.node.term,
      snapshot,
    });
    this.messages.push(message);
    this.print(formatMessage(message));
  }

  // Output

  private printLog({ storage }: InteractionPeer): void {
    const { firstIndex, lastIndex } = storage;
    if (lastIndex < firstIndex)
      this.print(`log is empty: first index=${firstIndex}, last index=${lastIndex}`);
    else this.print(formatEntries(storage.entries));
  }

  private printStates(): void {
    for (const { id, node } of this.peers) {
      const { role, term, lead, configuration } = node.status();
      const voter = configuration.voters.includes(id) || configuration.outgoing.includes(id);
      this.print(`${id}: ${roleName(role)} (${voter ? 'Voter' : 'Non-Voter'}) Term:${term} Lead:${lead}\n`);
    }
  }

  private setLogLevel(level: string): void {
    this.quiet = level.toLowerCase() === 'none';
  }

  private each(ids: readonly number[], title: string, work: (peer: InteractionPeer) => void): void {
    for (const id of ids) {
      const peer = this.peer(id);
      if (ids.length === 1) {
        work(peer);
      } else {
        this.print(`> ${id} ${title}\n`);
        this.indented(() => work(peer));
      }
    }
  }

  private print(text: string): void {
    if (!this.quiet) this.output += text;
  }

  private indented(work: () => void): void {
    const before = this.output;
    this.output = '';
    work();
    const lines = this.output.split('\n');
    if (lines[lines.length - 1] === '') lines.pop();
    this.output = before + lines.map((line) => `  ${line}\n`).join('');
  }

  private peer(id: number): InteractionPeer {
    const peer = this.peers[id - 1];
    if (peer === undefined) throw new CommandError(`there is no node ${id}`);
    return peer;
  }
}

/** A command's own failure: part of its output. */
class CommandError extends Error {}

/** What etcd calls the error. It is silent about some that this library tells its caller: none of those is printed. */
function asEtcdError(error: RaftError): CommandError;
function asEtcdError(error: RaftError, always: false): CommandError | undefined;
function asEtcdError(error: RaftError, always = true): CommandError | undefined {
  if (error.code === 'proposal-dropped') return new CommandError('raft proposal dropped');
  if (error.code === 'peer-not-found') return new CommandError('raft: cannot step as peer not found');
  return always ? new CommandError('') : undefined;
}

/** Local messages are never dropped: they stand for function calls. */
function isFor(message: Message, to: number, drop: boolean, only: MessageType | undefined): boolean {
  return message.to === to && !(drop && message.from === to) && (only === undefined || message.type === only);
}

/** `v1 l2 r3 u4`. */
export function parseSteps(text: string): MemberChange[] {
  return text
    .split(/\s+/)
    .filter((word) => word !== '')
    .map((word) => {
      const kind = STEP_LETTERS[word[0] as string];
      if (kind === undefined) throw new CommandError(`unknown input: ${word}`);
      return { kind, id: Number(word.slice(1)) };
    });
}
