/** What processes cost, as the kernel counts it: CPU time and bytes written (Linux; zeros where /proc is absent). */

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

export interface Usage {
  /** User and system time, seconds. */
  readonly cpuSeconds: number;
  /** Bytes sent towards the disk (page cache included, as `write_bytes` counts). */
  readonly writtenBytes: number;
  /** Resident set, bytes. */
  readonly residentBytes: number;
}

/** What one machine's processors did, seconds since it started. */
export interface MachineTime {
  readonly busySeconds: number;
  /** Taken by other machines on the same host. */
  readonly stolenSeconds: number;
}

const TICKS_PER_SECOND = clockTicks();
const NONE: Usage = { cpuSeconds: 0, writtenBytes: 0, residentBytes: 0 };

/** The sum over `pids`; a process that has ended counts as nothing. */
export function usageOf(pids: readonly number[]): Usage {
  return pids.map(usageOfOne).reduce(
    (sum, one) => ({
      cpuSeconds: sum.cpuSeconds + one.cpuSeconds,
      writtenBytes: sum.writtenBytes + one.writtenBytes,
      residentBytes: sum.residentBytes + one.residentBytes,
    }),
    NONE,
  );
}

function usageOfOne(pid: number): Usage {
  const stat = read(`/proc/${pid}/stat`);
  if (stat === undefined) return NONE;
  // The command's name may hold spaces and brackets: fields are counted after its last closing bracket.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const io = read(`/proc/${pid}/io`) ?? '';
  const status = read(`/proc/${pid}/status`) ?? '';
  return {
    cpuSeconds: (Number(fields[11] ?? 0) + Number(fields[12] ?? 0)) / TICKS_PER_SECOND,
    writtenBytes: Number(/^write_bytes: (\d+)/m.exec(io)?.[1] ?? 0),
    residentBytes: Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) * 1024,
  };
}

export function machineTime(): MachineTime {
  const line = /^cpu\s+(.*)$/m.exec(read('/proc/stat') ?? '')?.[1];
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = (line ?? '')
    .split(/\s+/)
    .map(Number);
  return {
    busySeconds: (user + nice + system + irq + softirq) / TICKS_PER_SECOND,
    stolenSeconds: steal / TICKS_PER_SECOND,
  };
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

function clockTicks(): number {
  if (process.platform !== 'linux') return 100;
  try {
    return Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' })) || 100;
  } catch {
    return 100;
  }
}
