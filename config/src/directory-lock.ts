/**
 * One process per directory, without a file that could go stale.
 *
 * Linux: an abstract Unix socket named after the directory's device and inode; the kernel releases it when the process
 * dies, however it dies. Elsewhere: a socket file, taken over when nobody answers on it. Abstract sockets live in a
 * network namespace: two containers that share a volume must share it too, or be kept apart by their orchestrator.
 */
import { statSync, unlinkSync } from 'node:fs'
import { connect, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { UserError } from './errors.ts'

export interface DirectoryLock {
  release(): Promise<void>
}

/**
 * @param purpose what the directory is, for the message: "spool", "database"
 * @throws UserError if another process holds the directory
 */
export async function lockDirectory(directory: string, purpose: string): Promise<DirectoryLock> {
  const { dev, ino } = statSync(directory)
  const name = `agnes-${purpose}-${dev}-${ino}`
  const abstract = process.platform === 'linux'
  const address = abstract ? `\0${name}` : path.join(tmpdir(), `${name}.sock`)
  let server = await tryListen(address)
  if (server === undefined && !abstract && !(await answers(address))) {
    unlinkSync(address)
    server = await tryListen(address)
  }
  if (server === undefined) {
    throw new UserError(`another process already uses the ${purpose} directory ${directory}`, {
      code: 'directory_locked',
      hint: 'stop the other instance, or set AGNES_DATA_DIR to another directory',
    })
  }
  const held = server
  held.unref()
  return { release: () => new Promise((resolve) => held.close(() => resolve())) }
}

/** undefined if the address is taken. */
function tryListen(address: string): Promise<Server | undefined> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy())
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve(undefined)
      else reject(error)
    })
    server.listen(address, () => resolve(server))
  })
}

function answers(address: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(address)
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}
