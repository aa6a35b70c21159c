/** Binding a port, with an error that says who has it. */
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import type { AddressInfo, Server } from 'node:net'
import { UserError } from './errors.ts'

/**
 * Binds the server and resolves with its port.
 * @param variable the environment variable that sets the port, for the hint
 * @throws UserError if the port is taken or may not be used
 */
export function bindPort(server: Server, host: string, port: number, variable: string): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => reject(explain(error, host, port, variable)))
    server.listen(port, host, () => resolve((server.address() as AddressInfo).port))
  })
}

function explain(error: NodeJS.ErrnoException, host: string, port: number, variable: string): Error {
  if (error.code === 'EADDRINUSE') {
    const holder = portHolder(port)
    const by = holder === undefined ? '' : ` by pid ${holder.pid} (${holder.name})`
    return new UserError(`port ${port} on ${host} is taken${by}`, {
      code: 'port_taken',
      hint: `stop ${holder === undefined ? 'the process that listens there' : 'it'}, or set ${variable} (0 picks a free port)`,
      cause: error,
    })
  }
  if (error.code === 'EACCES') {
    return new UserError(`port ${port} on ${host} may not be used by this user`, {
      code: 'port_refused',
      hint: `set ${variable} to a port above 1023 (0 picks a free one)`,
      cause: error,
    })
  }
  if (error.code === 'EADDRNOTAVAIL' || error.code === 'ENOTFOUND') {
    return new UserError(`this machine has no address ${host}`, {
      code: 'no_address',
      hint: 'set AGNES_HOST to 127.0.0.1',
      cause: error,
    })
  }
  return error
}

/** The process that listens on a TCP port, where Linux lets us see it (our own user's, or any as root). */
function portHolder(port: number): { pid: number; name: string } | undefined {
  try {
    // Without IPv6 there is no second file.
    const files = ['/proc/net/tcp', '/proc/net/tcp6'].filter((file) => existsSync(file))
    const inodes = new Set(files.flatMap((file) => listeningInodes(file, port)))
    for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
      if (holdsOneOf(pid, inodes)) return { pid: Number(pid), name: readFileSync(`/proc/${pid}/comm`, 'utf8').trim() }
    }
  } catch {
    // Not Linux, or not allowed: the error says what it can without.
  }
  return undefined
}

/** proc(5): column 1 is the local address with the port in hexadecimal, 3 the state (0A = listening), 9 the inode. */
function listeningInodes(file: string, port: number): string[] {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, '0')}`
  return readFileSync(file, 'utf8')
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter((columns) => columns[1]?.endsWith(suffix) && columns[3] === '0A')
    .map((columns) => columns[9] ?? '')
}

function holdsOneOf(pid: string, inodes: ReadonlySet<string>): boolean {
  try {
    return readdirSync(`/proc/${pid}/fd`).some((fd) => {
      const inode = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1]
      return inode !== undefined && inodes.has(inode)
    })
  } catch {
    return false // another user's process, or it is gone
  }
}
