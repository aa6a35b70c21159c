/**
 * The engine in this process: chDB and its HTTP interface. Whoever calls this gives the process to it: an abort in the
 * engine takes the process with it, which is why the gateway lives in another one.
 */
import { mkdirSync, readdirSync, rmSync } from 'node:fs'
import path from 'node:path'
import { lockDirectory, UserError } from '@agnes/config'

export interface ServeOptions {
  /** Directory of the database; created if missing. One engine a directory. */
  readonly dataDir: string
  readonly host: string
  /** 0 picks a free port. */
  readonly port: number
}

export interface ServedEngine {
  /** Base URL of the HTTP interface, with the product's database as its path. */
  readonly url: string
  readonly port: number
  /** Takes no more queries, lets those that run end, closes the database. */
  stop(): Promise<void>
}

/**
 * Opens the database and serves it.
 * @throws UserError if the package is missing, the directory is in use or not writable, or the port is taken
 */
export async function serveEngine({ dataDir, host, port }: ServeOptions): Promise<ServedEngine> {
  const temporaryDirectory = createDirectories(dataDir)
  const lock = await lockDirectory(dataDir, 'database')
  // What lies there was cut off by a crash; only now that the directory is ours alone.
  for (const name of readdirSync(temporaryDirectory)) rmSync(path.join(temporaryDirectory, name))
  // The library takes the machine's zone when it is loaded: partitions and days would move with it, and with its travels.
  process.env.TZ = 'UTC'
  const { openSessions } = await loadChdb()
  const { createEngine } = await import('./execute.ts')
  const { listen } = await import('./server.ts')
  const engine = await createEngine({ sessions: openSessions(dataDir), temporaryDirectory })
  const listener = await listen(engine, host, port)
  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${listener.port}/agnes`,
    port: listener.port,
    stop: async () => {
      await listener.close()
      await engine.close()
      await lock.release()
    },
  }
}

/** @returns the directory for bodies of inserts */
function createDirectories(dataDir: string): string {
  const temporary = path.join(dataDir, 'tmp-inserts')
  try {
    mkdirSync(temporary, { recursive: true, mode: 0o700 })
    return temporary
  } catch (error) {
    throw new UserError(`cannot write to ${dataDir}: ${(error as Error).message}`, {
      code: 'data_directory',
      hint: 'make it writable for this user, or set AGNES_DATA_DIR',
      cause: error,
    })
  }
}

async function loadChdb() {
  try {
    return await import('./sessions.ts')
  } catch (error) {
    throw new UserError(`the embedded engine cannot be loaded on ${process.platform}-${process.arch}`, {
      code: 'engine_missing',
      hint: 'run "npm install chdb" (Linux and macOS, x64 and arm64), or set CLICKHOUSE_URL to a ClickHouse server',
      cause: error,
    })
  }
}
