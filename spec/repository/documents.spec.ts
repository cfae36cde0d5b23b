import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { hasNatsServer, SEARCH_PATH } from '../nats-server.js';
import { skip } from '../skip.js';
import { anchorsOf, brokenLinks } from './links.js';
import { type Block, blocksOf, documents, joined, ROOT, RUN_ELSEWHERE, runs } from './markdown.js';
import { dissect, faultOf, faultOfTroupe, npmScripts, program } from './shell-check.js';
import { typeFaults } from './type-check.js';

/** Each has a test below; no block is of another language. */
const KINDS: ReadonlySet<string> = new Set(['sh', 'ts', 'js', 'json', 'conf', 'text']);

/** Blocks run in spec/integration/documents.spec.ts, and where `RUN_ELSEWHERE` says; here is what can be said of all of them. */
describe('The documents', () => {
  const all = documents();
  const ofKind = (kind: string): { path: string; block: Block }[] =>
    all.flatMap(({ path, blocks }) =>
      blocks.filter((block) => block.kind === kind).map((block) => ({ path, block })),
    );

  it('have blocks of the languages that are looked at, and none but programs go unrun', () => {
    expect(all.map(({ path }) => path)).to.include.members(['README.md', 'docs/cli.md', 'deploy/README.md']);
    const odd = all.flatMap(({ path, blocks }) =>
      blocks
        .filter(({ kind, mark }) => {
          if (mark === '') return !KINDS.has(kind);
          return mark !== 'checked' || !['sh', 'ts', 'js'].includes(kind);
        })
        .map(({ kind, mark, line }) => `${path}:${line - 1} ${kind} ${mark}`),
    );
    expect(odd).to.deep.equal([]);
  });

  it('set up machines for nobody who only runs the specs', () => {
    const outside = all.filter(({ path }) => !/^(README\.md|docs\/.*)$/.test(path));
    expect(outside.filter(({ blocks }) => blocks.some(runs)).map(({ path }) => path)).to.deep.equal([]);
  });

  it('have fences that begin their lines, and are closed', () => {
    expect(() => blocksOf('- a list\n  ```sh\n  ls\n  ```\n')).to.throw('line 2');
    expect(() => blocksOf('~~~\nls\n~~~\n')).to.throw('line 1');
    expect(() => blocksOf('text\n```sh\nls\n')).to.throw('line 2 is not closed');
  });

  it('leave to other specs only what those read', () => {
    for (const [path, spec] of RUN_ELSEWHERE) {
      expect(all.some((document) => document.path === path && document.blocks.some(runs))).to.equal(true);
      expect(readFileSync(join(ROOT, spec), 'utf8')).to.include(path.replace(/^docs\//, ''));
    }
    // That one starts files; a part of a program it would not run.
    const manual = all.find(({ path }) => path === 'docs/actors.md')?.blocks ?? [];
    expect(manual.filter((block) => runs(block) && block.file === undefined)).to.deep.equal([]);
  });

  it('show commands that there are, with options that they take', async () => {
    const faults: string[] = [];
    for (const { path, blocks } of all) {
      const scripts = blocks.filter(({ kind }) => kind === 'sh');
      const { commands, complaints } = dissect(joined(scripts));
      if (complaints !== '') faults.push(`${path}: ${complaints}`);
      for (const command of commands) {
        const fault = await faultOf(command);
        if (fault !== undefined)
          faults.push(`${path}:${command.line} ${command.words.join(' ')}\n  ${fault}`);
      }
      for (const { line, text } of scripts) {
        const end = line + text.split('\n').length - 1;
        if (!commands.some((command) => command.line >= line && command.line < end))
          faults.push(`${path}:${line} no command was found`);
      }
    }
    expect(faults.join('\n')).to.equal('');
  });

  it('are not believed when a command is wrong', async () => {
    expect(await faultOfTroupe(['kv', 'get', 'k', '--limit', '3'])).to.match(/unknown option '--limit'/);
    expect(await faultOfTroupe(['kv', 'fetch', 'k'])).to.match(/unknown command 'fetch'/);
    expect(await faultOfTroupe(['kv', 'get'])).to.match(/missing required argument 'key'/);
    expect(await faultOfTroupe(['kv', 'get', 'k', '--json'])).to.equal(undefined);
    const { commands } = dissect(
      "\nA=1 npm run -s sailboat -- x | jq '.a b' > there\nkill -9 $(truope 'a b')\n",
    );
    expect(commands).to.have.deep.members([
      { line: 2, words: ['npm', 'run', '-s', 'sailboat', '--', 'x'] },
      { line: 2, words: ['jq', '.a b'] },
      { line: 3, words: ['truope', 'a b'] },
      { line: 3, words: ['kill', '-9'] },
    ]);
    expect(await Promise.all(commands.map(faultOf))).to.have.members([
      'package.json has no script sailboat',
      'no document has used truope so far',
      undefined,
      undefined,
    ]);
    expect(dissect('troupe "status\n').complaints).to.match(/unexpected EOF/);
  });

  it('start no program by its path, and write to no file but their own, while they are taken apart', () => {
    const outside = mkdtempSync(join(tmpdir(), 'troupe-outside-'));
    const file = join(outside, 'written');
    const path = /cannot specify `\/' in command names/;
    const redirection = /cannot redirect output/;
    const touch = ['/usr/bin/touch', '/bin/touch'].find(existsSync) ?? '';
    expect(touch).not.to.equal('');
    try {
      for (const [script, complaint] of [
        ['cd there && ./start.sh', path],
        [`${touch} ${file}`, path],
        [`A=1 ${touch} ${file}`, path],
        [`if ! "${touch}" ${file}; then troupe status; fi`, path],
        [`touch=${touch}; troupe status | $touch ${file}`, path],
        [`eval '${touch} ${file}'`, path],
        [`PATH=${touch.replace(/\/touch$/, '')} touch ${file}`, /PATH: readonly/],
        [`troupe status > ${file}`, redirection],
        [`troupe status 2>>"${file}"`, redirection],
        [`troupe status &> ${file}`, redirection],
        ['troupe status > ~/written', redirection],
        ['troupe status >> ../written', redirection],
        [`file=${file}; troupe status >| $file`, redirection],
      ] as const) {
        expect(dissect(script).complaints, script).to.match(complaint);
        expect(existsSync(file), script).to.equal(false);
      }
      const { commands, complaints } = dissect('troupe a 2> /dev/null >> b.txt | troupe c "d\ne" 2>&1 >f\n');
      expect(complaints).to.equal('');
      expect(commands).to.have.deep.members([
        { line: 1, words: ['troupe', 'a'] },
        { line: 1, words: ['troupe', 'c', 'd\ne'] },
      ]);
    } finally {
      rmSync(outside, { recursive: true });
    }
  });

  it('name in their sentences only scripts, commands and options that there are', () => {
    const faults: string[] = [];
    for (const { path, text } of all) {
      for (const [, script = ''] of text.matchAll(/\bnpm run (?:-s )?([\w:-]+)/g))
        if (!(script in npmScripts())) faults.push(`${path}: npm run ${script}`);
      for (const [, words = ''] of text.matchAll(/`troupe ([^`\n]+)`/g)) {
        const fault = faultOfMention(words.split(/\s+/));
        if (fault !== undefined) faults.push(`${path}: troupe ${words}: ${fault}`);
      }
    }
    expect(faults.join('\n')).to.equal('');
  });

  it('show programs whose types are right', () => {
    expect(typeFaults(all)).to.deep.equal([]);
  }).timeout(60_000);

  it('show JSON that is some', () => {
    const blocks = ofKind('json');
    expect(blocks.length).to.be.greaterThan(0);
    for (const { path, block } of blocks) {
      expect(() => JSON.parse(block.text), `${path}:${block.line}`).not.to.throw();
    }
  });

  it('show configurations that nats-server takes', function () {
    if (!hasNatsServer()) skip(this, 'nats-server is not installed');
    const blocks = ofKind('conf');
    expect(blocks.length).to.be.greaterThan(0);
    const directory = mkdtempSync(join(tmpdir(), 'troupe-conf-'));
    try {
      for (const { path, block } of blocks) {
        const file = join(directory, 'nats.conf');
        writeFileSync(file, block.text);
        const secrets = [...block.text.matchAll(/: \$([A-Z_]+)/g)].map(([, name]) => [name, 'secret']);
        const { status, stdout, stderr } = spawnSync('nats-server', ['-t', '-c', file], {
          encoding: 'utf8',
          env: { PATH: SEARCH_PATH, ...Object.fromEntries(secrets) },
        });
        expect(status, `${path}:${block.line}\n${stdout}${stderr}`).to.equal(0);
      }
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });

  it('point at files and headings that there are', () => {
    const broken = all.flatMap((document) =>
      brokenLinks(document).map((target) => `${document.path}: ${target}`),
    );
    expect(broken).to.deep.equal([]);
  });

  it('have the anchors that GitHub gives them', () => {
    const headings = [
      '# What is promised, and what is *not*',
      '## `troupe store list`, `show <id>`',
      '## A_name, _stressed_ [and a `link`](x.md#y) ##',
      '### Überall: 2 + 2',
      '## Again!',
      'Again',
      '## Again',
      '```sh',
      '# again',
      '```',
      '## Again?',
      '#again and again',
    ];
    expect([...anchorsOf(headings.join('\n'))]).to.deep.equal([
      'what-is-promised-and-what-is-not',
      'troupe-store-list-show-id',
      'a_name-stressed-and-a-link',
      'überall-2--2',
      'again',
      'again-1',
      'again-2',
    ]);
  });

  it('are not believed when they point nowhere', () => {
    const text = [
      '# Here',
      '[a](#here) [b](#There) [c](#) [d](../README.md#start) [e](../README.md#stop "a title")',
      '[f](cli.md) [g](no.md) [h](no.md#start) [i](../package.json#start) `[j](#code)` [k](https://x.example/#y)',
      '```text',
      '[l](#block)',
      '```',
      '[m]: #defined',
    ].join('\n');
    expect(brokenLinks({ path: 'docs/x.md', text })).to.deep.equal([
      '#There',
      '#',
      '../README.md#stop',
      'no.md',
      'no.md#start',
      '../package.json#start',
      '#defined',
    ]);
  });
});

/** `troupe store label 2 zone=east`: the words up to the first that is no command, and then every option. */
function faultOfMention(words: readonly string[]): string | undefined {
  let command = program;
  let at = 0;
  for (; at < words.length; at++) {
    const next = command.commands.find(
      (each) => each.name() === words[at] || each.aliases().includes(words[at] ?? ''),
    );
    if (next === undefined) break;
    command = next;
  }
  if (at === 0) return /^\W/.test(words[0] ?? '') ? undefined : 'no such command';
  for (const word of words.slice(at)) {
    const [flag = ''] = word.split('=');
    if (flag.startsWith('--') && flag !== '--help' && !command.options.some(({ long }) => long === flag))
      return `no option ${flag}`;
  }
  return undefined;
}
