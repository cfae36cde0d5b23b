import {
  type ConfChange,
  type MemberChange,
  type Message,
  type MessageType,
  makeMessage,
  type RaftError,
} from '../../../machines/index.js';
import { parseNewNodes, toBoolean, toNumber } from './add-nodes.js';
import { CommandError, etcdErrorText } from './command-error.js';
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
import { InteractionPeer } from './interaction-peer.js';
import { Transcript } from './transcript.js';

/** A whole group driven by the commands of etcd's interaction files. */
export class InteractionEnvironment {
  private readonly peers: InteractionPeer[] = [];
  /** Sent and not yet delivered, in the order of sending. */
  private messages: Message[] = [];
  private readonly transcript = new Transcript();

  /** `maxCachedBytes` 0 makes the peers read every entry back from storage. */
  constructor(private readonly maxCachedBytes = Number.POSITIVE_INFINITY) {}

  /**
   * Runs a case: its command, and the commands that its input holds line by line. Returns what etcd's harness prints,
   * without log lines. What fails says so; the commands after it are carried out all the same, as etcd does.
   */
  run(test: Case): string {
    const { transcript } = this;
    transcript.text = '';
    const problems = [this.attempt(() => this.execute(test.command, test.args, test.input))];
    if (problems[0] === undefined && test.command !== 'propose-conf-change') {
      for (const line of test.input.split('\n').filter((text) => text !== '')) {
        const { command, args } = parseDirective(line, test.line);
        problems.push(this.attempt(() => this.execute(command, args, '')));
        if (transcript.quiet && problems.at(-1) !== undefined) break;
      }
    }
    const problem = problems.at(-1);
    // An error is printed even where nothing else is.
    if (transcript.quiet && problem !== undefined) return problem;
    return transcript.text === '' ? 'ok' : transcript.text;
  }

  /** Returns what a command found wrong; it is printed too. */
  private attempt(command: () => void): string | undefined {
    try {
      command();
      return undefined;
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      this.print(error.message);
      return error.message;
    }
  }

  private execute(command: string, args: readonly Arg[], input: string): void {
    const ids = () => idsOf(args);
    const first = () => this.peer(this.firstId(command, args));
    switch (command) {
      case '_breakpoint':
        return;
      case 'add-nodes':
        return this.addNodes(args);
      case 'campaign':
        // It may not: etcd logs that.
        first().act((node) => node.campaign());
        return;
      case 'propose':
        return this.propose(first(), args);
      case 'propose-conf-change':
        return this.proposeConfChange(first(), args, input);
      case 'process-ready':
        return this.each(ids(), 'handling Ready', (peer) => this.processReady(peer));
      case 'process-append-thread':
        return this.each(ids(), 'processing append thread', (peer) => this.processAppendThread(peer));
      case 'process-apply-thread':
        return this.each(ids(), 'processing apply thread', (peer) => this.processApplyThread(peer));
      case 'deliver-msgs':
        return this.deliverCommand(args);
      case 'stabilize':
        return this.stabilizeCommand(ids(), args);
      case 'tick-election':
        return this.tick(first(), first().electionTick);
      case 'tick-heartbeat':
        return this.tick(first(), first().heartbeatTick);
      case 'tick':
        return this.tick(...this.pair(command, args, (id) => this.peer(id)));
      case 'set-randomized-election-timeout':
        return this.setElectionTimeout(first(), args);
      case 'transfer-leadership':
        return this.transferLeadership(args);
      case 'forget-leader':
        first().act((node) => node.forgetLeader());
        return;
      case 'report-unreachable': {
        const [peer, lost] = this.pair(command, args, (id) => this.peer(id));
        peer.act((node) => node.reportUnreachable(this.peer(lost).id));
        return;
      }
      case 'send-snapshot':
        return this.sendSnapshot(...this.pair(command, args, (id) => this.peer(id)));
      case 'compact':
        return this.compact(...this.pair(command, args, (id) => this.peer(id)));
      case 'raft-log':
        return this.printLog(first());
      case 'raft-state':
        return this.printStates();
      case 'status':
        for (const [id, progress] of first().node.status().progress)
          this.print(`${formatProgress(id, progress)}\n`);
        return;
      case 'log-level':
        return this.transcript.setLevel(args[0]?.key ?? '');
      default:
        throw new CommandError(`unknown command ${command}`);
    }
  }

  // Commands

  private addNodes(args: readonly Arg[]): void {
    const { count, snapshot, options } = parseNewNodes(args);
    for (let i = 0; i < count; i++) {
      const id = this.peers.length + 1;
      this.peers.push(new InteractionPeer({ ...options, id, maxCachedBytes: this.maxCachedBytes }, snapshot));
    }
  }

  private propose(peer: InteractionPeer, args: readonly Arg[]): void {
    const [, data, ...rest] = args;
    if (data === undefined || data.values.length > 0 || rest.length > 0) {
      throw new CommandError('propose: expected exactly one key with no vals');
    }
    const result = peer.act((node) => node.propose(new TextEncoder().encode(data.key)));
    if (!result.ok) this.fail(result.error);
  }

  private proposeConfChange(peer: InteractionPeer, args: readonly Arg[], input: string): void {
    let transition: ConfChange['transition'] = 'auto';
    let v1 = false;
    for (const { key, values } of args.slice(1)) {
      const [value = ''] = values;
      if (key === 'v1') v1 = toBoolean(value);
      else if (key === 'transition') transition = toTransition(value);
      else throw new CommandError(`unknown command ${key}`);
    }
    const changes = parseSteps(input);
    if (v1 && (changes.length !== 1 || transition !== 'auto')) {
      throw new CommandError('v1 conf change can only have one operation and no transition');
    }
    const change: ConfChange = { transition, changes, context: new Uint8Array(0) };
    const result = peer.act((node) => node.proposeConfChange(change, v1 ? 'v1' : 'v2'));
    if (!result.ok) this.fail(result.error);
  }

  private setElectionTimeout(peer: InteractionPeer, args: readonly Arg[]): void {
    const timeout = toNumber(valuesOf(args, 'timeout')[0] ?? '');
    if (timeout === 0) throw new CommandError('set-randomized-election-timeout: timeout=N must be above 0');
    peer.node.actor.getSnapshot().context.core.randomizedElectionTimeout = timeout;
  }

  private transferLeadership(args: readonly Arg[]): void {
    const peerOf = (key: 'from' | 'to') => this.peer(toNumber(valuesOf(args, key)[0] ?? ''));
    const { id } = peerOf('to');
    // A transfer that cannot be is logged by etcd, and no more.
    peerOf('from').act((node) => node.transferLeader(id));
  }

  private compact(peer: InteractionPeer, index: number): void {
    const { firstIndex, lastIndex } = peer.storage;
    if (index < firstIndex) throw new CommandError('requested index is unavailable due to compaction');
    if (index > lastIndex) {
      throw new CommandError(`compact ${index} is out of bound lastindex(${lastIndex})`);
    }
    const term = peer.storage.compact(index);
    peer.act((node) => node.compact(index, term));
    this.printLog(peer);
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
      if (values.length === 0) return [{ id: toNumber(key), drop: false }];
      if (key === 'drop') return values.map((id) => ({ id: toNumber(id), drop: true }));
      if (key === 'type') return [];
      throw new CommandError(`deliver-msgs: unknown option ${key}; the options are drop and type`);
    });
    for (const { id, drop } of recipients) {
      if (drop && recipients.some((other) => other.id === id && !other.drop)) {
        throw new CommandError(`can't both deliver and drop msgs to ${id}`);
      }
    }
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
      const text = error === undefined ? undefined : etcdErrorText(error);
      if (text !== undefined) this.print(`${text}\n`);
    }
    return taken.length;
  }

  private stabilizeCommand(ids: readonly number[], args: readonly Arg[]): void {
    const before = this.transcript.level;
    for (const { key, values } of args.filter((arg) => arg.values.length > 0)) {
      if (key !== 'log-level') {
        throw new CommandError(`stabilize: unknown option ${key}; the only option is log-level`);
      }
      this.transcript.setLevel(values[0] ?? '');
    }
    try {
      this.stabilize(ids.length > 0 ? ids.map((id) => this.peer(id)) : this.peers);
    } finally {
      this.transcript.level = before;
    }
  }

  private stabilize(peers: readonly InteractionPeer[]): void {
    for (let busy = true; busy; ) {
      busy = false;
      const section = (peer: InteractionPeer, title: string, work: () => void) => {
        busy = true;
        this.print(`> ${peer.id} ${title}\n`);
        this.transcript.indented(work);
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

  private sendSnapshot(from: InteractionPeer, target: number): void {
    const { snapshot } = from;
    const to = this.peer(target).id;
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

  private each(ids: readonly number[], title: string, work: (peer: InteractionPeer) => void): void {
    for (const id of ids) {
      const peer = this.peer(id);
      if (ids.length === 1) {
        work(peer);
      } else {
        this.print(`> ${id} ${title}\n`);
        this.transcript.indented(() => work(peer));
      }
    }
  }

  private print(text: string): void {
    this.transcript.print(text);
  }

  /** Fails with what etcd prints; what it only logs, or says nothing of, is no failure of the command. */
  private fail(error: RaftError): void {
    const text = etcdErrorText(error);
    if (text !== undefined) throw new CommandError(text);
  }

  private peer(id: number): InteractionPeer {
    const peer = this.peers[id - 1];
    if (peer === undefined) {
      throw new CommandError(`node index ${id - 1} out of range [0, ${this.peers.length})`);
    }
    return peer;
  }

  private firstId(command: string, args: readonly Arg[]): number {
    const [first] = args;
    if (first === undefined || first.values.length > 0) throw new CommandError(`${command}: say which node`);
    return toNumber(first.key);
  }

  /** Two numbers, of which the first is a node's. */
  private pair<First>(command: string, args: readonly Arg[], first: (id: number) => First): [First, number] {
    const [one, two, ...rest] = args;
    if (one === undefined || two === undefined || rest.length > 0) {
      throw new CommandError(`${command}: expected two numbers`);
    }
    return [first(toNumber(one.key)), toNumber(two.key)];
  }
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
      return { kind, id: toNumber(word.slice(1)) };
    });
}

function toTransition(text: string): ConfChange['transition'] {
  if (text === 'auto' || text === 'implicit' || text === 'explicit') return text;
  throw new CommandError(`unknown transition ${text}`);
}
