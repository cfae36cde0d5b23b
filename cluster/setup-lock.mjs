/**
 * One set-up at a time, whoever is killed. Plain JavaScript without dependencies, as set-up is.
 *
 * Each set-up that wants the lock has a file in the folder, with its process in the file's name: no two have the same, ever. It
 * first makes its own, and then looks for those of others: of two at once, the one that looks last sees the other's. So nobody
 * has to take a lock over, and what a dead one has left can be removed at any time by anybody: a single file with the holder's
 * name in it cannot, since between reading it and removing it, it may have become somebody else's.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const NAME = /^setup\.(\d+)\.([\w-]*)\.lock$/;
const PAUSE_MS = 100;

/**
 * Does the work when no other set-up does any.
 * @param folder of the locks
 * @param onWait is told once, when there is another
 */
export async function alone(folder, work, onWait) {
  mkdirSync(folder, { recursive: true });
  const own = `setup.${process.pid}.${startOf(process.pid)}.lock`;
  const release = () => rmSync(join(folder, own), { force: true });
  process.once('exit', release);
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1));
  let waited = false;
  for (const step of contend(folder, own, lives)) {
    if (step === 'on') continue;
    if (!waited) onWait();
    waited = true;
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
  work();
  process.off('exit', release);
  release();
}

/**
 * Takes the lock; between two steps others may do anything. It is held when the steps have ended, until the file `own` is removed.
 *
 * Of those that meet, the first by name keeps its file, and the others step back: one of them gets on.
 * @param lives says of a file's name whether its process is there
 * @yields 'wait' where it depends on others, else 'on'
 */
export function* contend(folder, own, lives) {
  for (;;) {
    while (others(folder, own, lives).length > 0) yield 'wait';
    yield 'on';
    writeFileSync(join(folder, own), '');
    yield 'on';
    for (;;) {
      const seen = others(folder, own, lives);
      if (seen.length === 0) return;
      if (seen.some((name) => name < own)) break;
      yield 'wait';
    }
    yield 'on';
    rmSync(join(folder, own));
    yield 'on';
  }
}

/** Names of those that live; what the dead have left is removed. */
function others(folder, own, lives) {
  return readdirSync(folder).filter((name) => {
    if (name === own || !NAME.test(name)) return false;
    if (lives(name)) return true;
    rmSync(join(folder, name), { force: true });
    return false;
  });
}

/** A process with the number that began at another time is somebody else. */
function lives(name) {
  const [, pid, start] = NAME.exec(name);
  try {
    process.kill(Number(pid), 0);
  } catch (error) {
    if (error.code !== 'EPERM') return false;
  }
  const now = startOf(pid);
  return now !== 'defunct' && (now === start || now === '' || start === '');
}

/** When a process began, as the system tells it; nothing, where it does not. */
function startOf(pid) {
  if (process.platform === 'linux') {
    // proc(5): behind the name in parentheses its state, and nineteen fields on, ticks since the machine's start.
    const [state, ...fields] = statOf(pid)
      .replace(/^.*\) /s, '')
      .split(' ');
    return state === 'Z' || state === 'X' ? 'defunct' : (fields[18] ?? '');
  }
  if (process.platform === 'win32') return '';
  const options = { encoding: 'utf8', env: { ...process.env, LC_ALL: 'C' } };
  const { stdout } = spawnSync('ps', ['-o', 'lstart=', '-p', String(pid)], options);
  return (stdout ?? '').trim().replace(/\W+/g, '-');
}

function statOf(pid) {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return '';
  }
}
