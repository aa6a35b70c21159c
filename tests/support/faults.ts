/** Faults that several tests bring about, and what is needed for them. */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import type { Bench } from './bench.ts'
import type { LedgerClient } from './ledger-client.ts'
import type { LoopDisk } from './loop-disk.ts'
import { type Service, type ServiceOptions, startService } from './processes.ts'
import { framesInSpool } from './spool-directory.ts'

/** How often the long tier does what it does (vitest.faults.config.ts). */
export const faultRounds = Number(process.env.FAULT_ROUNDS ?? 100)

/** kill -9 of gateway, engine or both, each time at another point of a segment's life. */
export async function killRounds(bench: Bench, rounds: number, gateway?: ServiceOptions): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    await pause(100 + 50 * (round % 20))
    const victims = round % 3 === 0 ? 'both' : round % 3 === 1 ? 'gateway' : 'engine'
    if (victims !== 'engine') await bench.gateway.kill()
    if (victims !== 'gateway') await bench.engine.kill()
    if (victims !== 'gateway') await bench.startEngine()
    if (victims !== 'engine') await bench.startGateway(gateway)
  }
}

/**
 * Copies the disk of a running gateway as it would be had the power gone, and starts a gateway on the copy.
 * @param options of the gateway on the copy
 * @returns acknowledged requests that the copy does not hold, or holds twice
 */
export async function cutPower(
  disk: LoopDisk,
  gateway: Service,
  clients: readonly LedgerClient[],
  env: NodeJS.ProcessEnv,
): Promise<{ readonly acknowledged: number; readonly lost: number; readonly doubled: number }> {
  const acknowledged = clients.flatMap((client) => [...client.acknowledged]).filter((id) => id.endsWith('-0'))
  process.kill(gateway.pid, 'SIGSTOP')
  const copy = disk.powerCut()
  process.kill(gateway.pid, 'SIGCONT')
  const dataDir = path.join(copy.directory, 'data')
  const recovering = await startService('gateway', { ...env, AGNES_DATA_DIR: dataDir })
  await recovering.kill()
  const payloads = Buffer.concat(framesInSpool(dataDir).map(({ payload }) => payload)).toString('latin1')
  copy.remove()
  const counts = acknowledged.map((id) => payloads.split(`{"id":"${id}"`).length - 1)
  return {
    acknowledged: acknowledged.length,
    lost: counts.filter((count) => count === 0).length,
    doubled: counts.filter((count) => count > 1).length,
  }
}

/** Why strace cannot be used; undefined where it can. */
export const noStrace: string | undefined =
  spawnSync('strace', ['-f', '-o', '/dev/null', 'true']).status === 0
    ? undefined
    : 'strace is not installed, or not allowed'

/**
 * Runs a service so that its n-th call of a system call fails, or kills it.
 * Counts are by thread: one thread of the pool makes them exact.
 * @param injections `fdatasync:signal=SIGKILL:when=3`, `pwritev:error=ENOSPC:when=2`
 */
export function underFaults(...injections: readonly string[]): ServiceOptions {
  const calls = [...new Set(injections.map((injection) => injection.split(':', 1)[0]))].join(',')
  return {
    under: [
      'env',
      'UV_THREADPOOL_SIZE=1',
      'strace',
      '-f',
      '-qq',
      '-o',
      '/dev/null',
      '-e',
      `trace=${calls}`,
      ...injections.flatMap((injection) => ['-e', `inject=${injection}`]),
    ],
  }
}

/** One life of the gateway for each point, ended there or after a while, with a client that goes on through the next. */
export async function crashAt(bench: Bench, points: readonly string[], gateway: ServiceOptions = {}): Promise<void> {
  for (const [i, point] of points.entries()) {
    await bench.gateway.stop()
    await bench.startGateway({ ...gateway, ...underFaults(point) })
    const client = bench.startClient(`crash-${i}-${point}`)
    await Promise.race([bench.gateway.ended, pause(5_000)])
    await bench.gateway.kill()
    await bench.startGateway(gateway)
    await client.stop()
  }
}

/** Runs a service so that its writes and syncs of the spool and its answers are on record. */
export function onRecord(file: string): ServiceOptions {
  const calls = 'trace=pwrite64,pwritev,fdatasync,write,writev,sendmsg'
  return { under: ['strace', '-f', '-qq', '-y', '-s', '120', '-o', file, '-e', calls] }
}

export interface AnswersOnRecord {
  /** Answers 200 to requests that wrote to the spool. */
  readonly answers: number
  /** Of these, those that went out while a write was not synced. */
  readonly tooEarly: number
}

/** Reads a record: each answer to a client must come after a sync of what was written since its last one. */
export function answersOnRecord(file: string): AnswersOnRecord {
  let answers = 0
  let tooEarly = 0
  let lastWrite = 0
  /** The last write that a successful sync carried. */
  let durableWrite = 0
  /** By thread: the last write before its sync began. */
  const syncing = new Map<string, number>()
  const lastAnswer = new Map<string, number>()
  for (const [at, line] of readFileSync(file, 'utf8').split('\n').entries()) {
    const [, thread = '', call = ''] = /^(\d+)\s+(.*)$/.exec(line) ?? []
    if (/^pwritev?(64)?\(.*\/spool\/seg-/.test(call)) lastWrite = at
    if (/^fdatasync\(.*\/spool\/seg-/.test(call)) syncing.set(thread, lastWrite)
    if (/^(fdatasync\(|<\.\.\. fdatasync resumed>).*= 0$/.test(call)) {
      durableWrite = Math.max(durableWrite, syncing.get(thread) ?? 0)
      syncing.delete(thread)
    }
    // The ledger clients' answers are `{}`; health and the heartbeat's are not.
    const [, socket] = /^(?:write|writev|sendmsg)\((\d+)<.*"HTTP\/1\.1 200.*Content-Length: 2\\r/.exec(call) ?? []
    if (socket === undefined) continue
    answers++
    if (durableWrite <= (lastAnswer.get(socket) ?? 0)) tooEarly++
    lastAnswer.set(socket, at)
  }
  return { answers, tooEarly }
}
