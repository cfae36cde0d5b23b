/** What a host says of itself and of what it serves, in JSON. */

export interface HostInfo {
  readonly node: string;
  readonly pid: number;
  readonly actors: readonly DeployedInfo[];
}

export interface DeployedInfo {
  readonly name: string;
  /** The machine's id. */
  readonly machine: string;
  /** The file that it came from, without folders. */
  readonly file: string;
  /** When this host began to serve it. */
  readonly since: string;
  /** The state value; absent while it starts, and where there are instances. */
  readonly state?: unknown;
  readonly life?: string;
  readonly failures?: number;
  readonly lastFailure?: string;
  /** The member that names an instance, how many are in memory, and how many of these stand as failed. */
  readonly instances?: { readonly member: string; readonly inMemory: number; readonly failed: number };
  /** Effects of those in memory that have not left. */
  readonly effectsPending?: number;
}

type Members = Readonly<Record<string, unknown>>;

/** What a host has answered; `undefined` for what is no such answer. */
export function readHostInfo({ node, pid, actors }: Members): HostInfo | undefined {
  if (typeof node !== 'string' || typeof pid !== 'number' || !Array.isArray(actors)) return undefined;
  const all: readonly unknown[] = actors;
  return { node, pid, actors: all.flatMap((actor) => (isMembers(actor) ? (readDeployed(actor) ?? []) : [])) };
}

function readDeployed(actor: Members): DeployedInfo | undefined {
  const { name, machine, file, since, state, life, failures, lastFailure, instances, effectsPending } = actor;
  if (typeof name !== 'string' || typeof machine !== 'string') return undefined;
  if (typeof file !== 'string' || typeof since !== 'string') return undefined;
  return {
    name,
    machine,
    file,
    since,
    ...(state === undefined ? {} : { state }),
    ...(typeof life === 'string' ? { life } : {}),
    ...(typeof failures === 'number' ? { failures } : {}),
    ...(typeof lastFailure === 'string' ? { lastFailure } : {}),
    ...(isMembers(instances) && typeof instances.member === 'string' && typeof instances.inMemory === 'number'
      ? {
          instances: {
            member: instances.member,
            inMemory: instances.inMemory,
            failed: typeof instances.failed === 'number' ? instances.failed : 0,
          },
        }
      : {}),
    ...(typeof effectsPending === 'number' ? { effectsPending } : {}),
  };
}

function isMembers(value: unknown): value is Members {
  return typeof value === 'object' && value !== null;
}
