import type { MvccChange, MvccCommand } from '../../../storage/index.js';
import { raft_cmdpb } from '../../../storage/proto/index.js';

const { CmdType } = raft_cmdpb;

/** A change as the replicated command has it. */
export function requestOf({ cf, key, value }: MvccChange): raft_cmdpb.Request {
  const put = value === undefined ? undefined : { cf, key, value };
  return {
    cmdType: put === undefined ? CmdType.Delete : CmdType.Put,
    put,
    delete: put === undefined ? { cf, key } : undefined,
    deleteRange: undefined,
    compareAndSwap: undefined,
  };
}

/** Bytes of keys and values that a command keeps in memory, roughly. */
export function bytesOf(command: MvccCommand): number {
  let bytes = 0;
  if (command.kind === 'prewrite') {
    for (const { key, value } of command.mutations) bytes += key.length + value.length;
    for (const key of command.asyncCommit?.secondaries ?? []) bytes += key.length;
  } else if ('keys' in command) for (const key of command.keys) bytes += key.length;
  return bytes;
}
