import { expect } from 'chai';
import { VirtualClock } from '../../actors/index.js';
import { TroupeError } from '../../cluster/errors.js';
import { TaskQueue } from '../../cluster/tasks.js';

const never = (signal: AbortSignal) =>
  new Promise<never>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));

describe('Slow tasks', () => {
  it('run a few at a time, in order, each with its result', async () => {
    const clock = new VirtualClock();
    const tasks = new TaskQueue({ clock, atOnce: 2, capacity: 10 });
    let running = 0;
    let most = 0;
    const results = Promise.all(
      [1, 2, 3, 4, 5].map((n) =>
        tasks.run(`task ${n}`, async () => {
          most = Math.max(most, ++running);
          await new Promise<void>((resolve) => clock.setTimeout(resolve, 10));
          running--;
          return n;
        }),
      ),
    );
    await clock.advance(100);
    expect(await results).to.deep.equal([1, 2, 3, 4, 5]);
    expect(most).to.equal(2);
  });

  it('are refused when too many wait', async () => {
    const clock = new VirtualClock();
    const tasks = new TaskQueue({ clock, atOnce: 1, capacity: 1 });
    void tasks.run('first', ({ signal }) => never(signal)).catch(() => {});
    void tasks.run('second', async () => {}).catch(() => {});
    const error = await tasks.run('third', async () => {}).catch((one: unknown) => one);
    expect(error).to.be.instanceOf(TroupeError).with.property('code', 'unavailable');
    await tasks.close();
  });

  it('yield to the loop when their time is used up, and only then', async () => {
    const clock = new VirtualClock();
    const tasks = new TaskQueue({ clock, atOnce: 1, capacity: 1 });
    const timers: number[] = [];
    const counting = {
      ...clock,
      now: () => clock.now(),
      immediate: (fn: () => void) => clock.immediate(fn),
      clearTimeout: (handle: Parameters<typeof clock.clearTimeout>[0]) => clock.clearTimeout(handle),
      setTimeout: (fn: () => void, ms: number) => {
        timers.push(clock.now());
        return clock.setTimeout(fn, ms);
      },
    };
    const watched = new TaskQueue({ clock: counting, atOnce: 1, capacity: 1 });
    const done = watched.run('steps', async ({ pause }) => {
      for (let step = 0; step < 10; step++) {
        await new Promise<void>((resolve) => clock.setTimeout(resolve, 2));
        await pause();
      }
    });
    await clock.advance(100);
    await done;
    expect(timers.length, 'every third step').to.equal(3);
    await tasks.close();
  });

  it('end when they are aborted, and when the queue is closed', async () => {
    const clock = new VirtualClock();
    const tasks = new TaskQueue({ clock, atOnce: 1, capacity: 5 });
    const abort = new AbortController();
    const steps = async ({ pause }: { pause: () => Promise<void> }) => {
      for (;;) {
        await new Promise<void>((resolve) => clock.setTimeout(resolve, 10));
        await pause();
      }
    };
    const outcome = (work: Promise<unknown>) => work.catch((error: unknown) => error);
    const first = outcome(tasks.run('first', steps, abort.signal));
    const second = outcome(tasks.run('second', steps));
    const third = outcome(tasks.run('third', steps));
    await clock.advance(50);
    abort.abort(new Error('no longer wanted'));
    await clock.advance(50);
    expect(await first).to.have.property('message', 'no longer wanted');
    const abortedEarly = new AbortController();
    const waiting = outcome(tasks.run('never starts', steps, abortedEarly.signal));
    abortedEarly.abort(new Error('not wanted at all'));
    expect(await waiting).to.have.property('message', 'not wanted at all');
    const closing = tasks.close();
    await clock.advance(50);
    await closing;
    expect(await second).to.have.property('code', 'closed');
    expect(await third).to.have.property('code', 'closed');
    expect(await outcome(tasks.run('late', async () => {}))).to.have.property('code', 'closed');
  });
});
