/** etcd as its documentation starts three members on one machine. */

import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { type LeashedProcess, startLeashed } from '../leash.js';
import { findProgram, freePort } from '../nats-server.js';
import { type RunningTarget, TargetMissing } from './target.js';

const MEMBERS = 3;
const START_DEADLINE_MS = 30_000;

export async function startEtcd(directory: string): Promise<RunningTarget> {
  const program = findProgram('etcd');
  if (program === undefined)
    throw new TargetMissing('etcd is not on PATH (Debian: apt-get install etcd-server)');
  const version = /etcd Version: (\S+)/.exec(execFileSync(program, ['--version'], { encoding: 'utf8' }))?.[1];
  const members = await Promise.all(
    Array.from({ length: MEMBERS }, async (_, index) => ({
      name: `etcd-${index + 1}`,
      client: `http://127.0.0.1:${await freePort()}`,
      peer: `http://127.0.0.1:${await freePort()}`,
    })),
  );
  const cluster = members.map(({ name, peer }) => `${name}=${peer}`).join(',');
  const processes: LeashedProcess[] = [];
  const stop = async (): Promise<void> => {
    await Promise.all(processes.map((one) => one.stop('SIGKILL')));
  };
  try {
    for (const { name, client, peer } of members) {
      processes.push(
        await startLeashed(program, [
          `--name=${name}`,
          `--data-dir=${join(directory, name)}`,
          `--listen-client-urls=${client}`,
          `--advertise-client-urls=${client}`,
          `--listen-peer-urls=${peer}`,
          `--initial-advertise-peer-urls=${peer}`,
          `--initial-cluster=${cluster}`,
          '--initial-cluster-token=troupe-bench',
          '--log-level=error',
        ]),
      );
    }
    const leader = await findLeader(members.map(({ client }) => client));
    return {
      description: `etcd ${version}, ${MEMBERS} members, clients at the leader`,
      pids: () => processes.map(({ pid }) => pid),
      driver: { kind: 'etcd', endpoints: [leader] },
      fsyncs: async () => {
        const counts = await Promise.all(members.map(({ client }) => walSyncs(client)));
        return counts.reduce((sum, count) => sum + count, 0);
      },
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** The client address of the member that leads, once all members agree on one. */
async function findLeader(clients: readonly string[]): Promise<string> {
  const deadline = Date.now() + START_DEADLINE_MS;
  for (;;) {
    const statuses = await Promise.all(clients.map(memberStatus));
    const leaders = new Set(statuses.map((status) => status?.leader));
    const index = statuses.findIndex((status) => status !== undefined && status.leader === status.member);
    const leader = clients[index];
    if (leaders.size === 1 && leader !== undefined) return leader;
    if (Date.now() > deadline) throw new Error('etcd elected no leader within 30 s');
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function memberStatus(client: string): Promise<{ member: string; leader: string } | undefined> {
  try {
    const reply = await fetch(`${client}/v3/maintenance/status`, { method: 'POST', body: '{}' });
    const status = (await reply.json()) as { header?: { member_id?: string }; leader?: string };
    const member = status.header?.member_id;
    return member === undefined || status.leader === undefined
      ? undefined
      : { member, leader: status.leader };
  } catch {
    return undefined;
  }
}

/** etcd syncs its write-ahead log before it acknowledges, and its database file every 100 ms or 10,000 changes. */
async function walSyncs(client: string): Promise<number> {
  const text = await (await fetch(`${client}/metrics`)).text();
  const count = (name: string): number =>
    Number(new RegExp(`^${name}_count (\\S+)`, 'm').exec(text)?.[1] ?? 0);
  return count('etcd_disk_wal_fsync_duration_seconds') + count('etcd_disk_backend_commit_duration_seconds');
}
