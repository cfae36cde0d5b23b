/** `troupe send`, `ask` and `actors`: what is done with deployed actors from outside. */

import { randomUUID } from 'node:crypto';
import type { Command } from 'commander';
import type { ActorClient, Answered } from '../deploy/client.js';
import type { HostInfo } from '../deploy/host-info.js';
import { isRefusal, readEvent } from '../deploy/protocol.js';
import { TroupeError } from '../errors.js';
import { natsOptions } from './connection.js';
import { checkToken, connectionSettings, withConnection } from './settings.js';
import { exportClientSpans } from './span-export.js';
import { endSoon, paletteFor, print, say, table } from './terminal.js';

interface SendFlags extends Readonly<Record<string, unknown>> {
  readonly id?: string;
  readonly json?: boolean;
}

interface ActorsFlags extends Readonly<Record<string, unknown>> {
  readonly key?: string;
  readonly json?: boolean;
}

export function addActorCommands(program: Command): void {
  withConnection(
    program
      .command('send')
      .summary('send an event to a deployed actor')
      .description(
        'Sends an event to a deployed actor, and returns when it is applied and durable. It carries an id: what is sent again with the same id is applied once.\n\nExamples:\n  troupe send counter \'{"type":"add","by":2}\'\n  troupe send door open\n  troupe send counter \'{"type":"add","by":2}\' --id order-17',
      )
      .argument('<NAME>', "the actor's name")
      .argument('<EVENT>', 'JSON with a type, or the type alone')
      .option('--id <id>', "the event's id (a new one)")
      .option('--json', 'print the acknowledgement'),
  ).action((name: string, event: string, flags: SendFlags) => deliver('send', name, event, flags));
  withConnection(
    program
      .command('ask')
      .summary('send an event, print the answer')
      .description(
        'Sends an event to a deployed actor and prints, as JSON, what its machine gave to event.replyTo.send, else its state after the event.\n\nExamples:\n  troupe ask counter \'{"type":"get"}\'\n  troupe ask counter get',
      )
      .argument('<NAME>', "the actor's name")
      .argument('<EVENT>', 'JSON with a type, or the type alone')
      .option('--id <id>', "the event's id (a new one)")
      .option('--json', 'print the whole acknowledgement'),
  ).action((name: string, event: string, flags: SendFlags) => deliver('ask', name, event, flags));
  withConnection(
    program
      .command('actors')
      .summary('list what is deployed')
      .description(
        'Lists the deployed actors and their hosts, or shows where one of them is.\n\nExamples:\n  troupe actors\n  troupe actors counter\n  troupe actors order --key 17 --json',
      )
      .argument('[NAME]', 'one of them')
      .option('--key <key>', 'which of its instances')
      .option('--json', 'print JSON, a list as NDJSON'),
  ).action(actors);
}

async function deliver(
  endpoint: 'send' | 'ask',
  name: string,
  text: string,
  flags: SendFlags,
): Promise<void> {
  checkToken('actor', name);
  const event = eventOf(text);
  const id = flags.id ?? randomUUID();
  if (id === '' || id.length > 128 || /[^\x21-\x7e]/.test(id)) {
    throw new TroupeError('usage', '--id: an id has 1 to 128 printable characters, without spaces');
  }
  const answered = await withActors(flags, (client) => client.deliver(name, endpoint, event, id));
  if (flags.json) print(JSON.stringify(answered));
  else if (endpoint === 'ask') print(JSON.stringify('reply' in answered ? answered.reply : answered.state));
  else if (answered.taken !== false)
    say(answered.duplicate === true ? `${name} had applied it before.` : `${name} has applied it.`);
  if (answered.taken === false && !flags.json) {
    const { type } = event;
    say(`${name} has had ${type}, but no transition of its machine takes that in its present state.`);
  }
}

/** @throws TroupeError `usage` for what is no event */
function eventOf(text: string): { readonly type: string } {
  const json = /^[A-Za-z][\w.-]*$/.test(text) ? JSON.stringify({ type: text }) : text;
  const event = readEvent(Buffer.from(json));
  if (isRefusal(event)) throw new TroupeError('usage', event.message);
  return event;
}

async function actors(name: string | undefined, flags: ActorsFlags): Promise<void> {
  if (name === undefined) {
    if (flags.key !== undefined) throw new TroupeError('usage', '--key is for one actor: say which');
    const hosts = await withActors(flags, (client) => client.hosts());
    list(hosts, flags.json === true);
    return;
  }
  checkToken('actor', name);
  const state = await withActors(flags, (client) => client.state(name, flags.key)).catch((error: unknown) => {
    // On the command line the key is an option.
    if (!(error instanceof TroupeError) || error.reason !== 'no-key' || flags.key !== undefined) throw error;
    throw new TroupeError('usage', `${name} has an actor for each key: say which with --key`, {
      cause: error,
    });
  });
  if (flags.json) print(JSON.stringify(state));
  else show(state);
}

function list(hosts: readonly HostInfo[], json: boolean): void {
  const all = hosts.flatMap(({ node, pid, actors: own }) =>
    own.map((actor) => ({ ...actor, host: node, pid })),
  );
  if (json) {
    for (const actor of all) print(JSON.stringify(actor));
    return;
  }
  if (all.length === 0) {
    say('No actor is deployed: troupe deploy FILE --name NAME hosts one.');
    return;
  }
  const rows = all.map(
    ({ name, host, machine, life, state, instances, failures = 0, lastFailure, effectsPending }) => [
      name,
      host,
      machine,
      instances === undefined ? `${life ?? ''}` : `${instances.inMemory} in memory`,
      instances === undefined ? shortState(state) : `by ${instances.member}`,
      failuresOf(instances?.failed, failures, lastFailure),
      effectsPending ? `${effectsPending} wait` : '',
    ],
  );
  print(
    table(
      [['name', 'host', 'machine', 'life', 'state', 'failures', 'effects'], ...rows],
      paletteFor(process.stdout),
    ),
  );
}

function failuresOf(failed: number | undefined, failures: number, last: string | undefined): string {
  if (failed !== undefined) return failed === 0 ? '' : `${failed} stand as failed`;
  return failures === 0 ? '' : `${failures}: ${shortState(last ?? '')}`;
}

function shortState(state: unknown): string {
  const text = typeof state === 'string' ? state : (JSON.stringify(state) ?? '');
  return text.length > 40 ? `${text.slice(0, 39)}…` : text;
}

function show(state: Answered): void {
  for (const member of [
    'name',
    'key',
    'host',
    'life',
    'status',
    'value',
    'context',
    'seq',
    'failures',
    'lastFailure',
    'goesOn',
  ]) {
    const value = state[member];
    if (value !== undefined)
      print(`${member.padEnd(12)} ${typeof value === 'string' ? value : JSON.stringify(value)}`);
  }
  const waiting: readonly unknown[] = Array.isArray(state.waiting) ? state.waiting : [];
  for (const lane of waiting) print(`${'effects'.padEnd(12)} ${laneText(lane)}`);
  const timers: readonly unknown[] = Array.isArray(state.timers) ? state.timers : [];
  for (const timer of timers) print(`${'timer'.padEnd(12)} ${JSON.stringify(timer)}`);
}

function laneText(lane: unknown): string {
  const { to, effects, since } = { ...(lane as Readonly<Record<string, unknown>>) };
  return `${effects} wait for ${to ?? 'the NATS server'} since ${since}`;
}

/** Works with the hosts of a cluster, over a connection of its own. */
export async function withActors<T>(
  flags: Readonly<Record<string, unknown>>,
  work: (client: ActorClient) => Promise<T>,
): Promise<T> {
  const settings = connectionSettings(flags);
  const { ActorClient } = await import('../deploy/client.js');
  const { cluster, timeoutMs } = settings;
  const spans = await exportClientSpans(settings.cluster);
  const options = { nats: natsOptions(settings), cluster, timeoutMs };
  try {
    const client = await ActorClient.connect(
      spans === undefined ? options : { ...options, tracerProvider: spans.provider },
    );
    try {
      return await work(client);
    } finally {
      await client.close();
    }
  } finally {
    await spans?.close();
    endSoon();
  }
}
