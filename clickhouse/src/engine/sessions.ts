/**
 * chDB sessions: one a request.
 *
 * A session runs one query at a time and keeps what was SET in it. So every request gets a fresh one (about 1 ms) and
 * nothing can leak into the next; several run side by side in one process. Reads and inserts have places of their own:
 * slow dashboards never hold up ingest.
 */
import { Session } from 'chdb'
import { EngineError, fromChdb } from './errors.ts'
import { quote, readOnlyUserMaySet, readonlyError } from './statement.ts'

export interface SessionSetup {
  readonly user: string
  readonly database: string
  /** By name, values as the URL has them. */
  readonly settings: ReadonlyMap<string, string>
  /** Query parameters without the prefix `param_`, values in ClickHouse's Escaped form. */
  readonly params: ReadonlyMap<string, string>
  readonly readOnly: boolean
}

export interface Sessions {
  /** Runs `work` with a session of its own; waits for a place of its class first. */
  run<T>(place: Place, setup: SessionSetup, work: (session: Session) => Promise<T>): Promise<T>
  /** The same within a session that lives on under a name (HTTP `session_id`). */
  runNamed<T>(id: string, timeoutS: number, setup: SessionSetup, work: (session: Session) => Promise<T>): Promise<T>
  /** Waits for what is running, then closes the database. */
  close(): Promise<void>
}

/** How many run side by side. `control` is for short questions of the interface itself: they wait for nobody. */
const places = { read: 6, insert: 2, control: 4 } as const
type Place = keyof typeof places

interface Named {
  readonly session: Session
  busy: boolean
  expiry: NodeJS.Timeout | undefined
}

export function openSessions(directory: string): Sessions {
  // Holds the database open between requests. BACKUP may go to any directory of this user, as INTO OUTFILE may.
  const base = new Session(directory, { connectionArgs: ['--', '--backups.allowed_path=/'] })
  base.query('CREATE DATABASE IF NOT EXISTS agnes')
  const gates = {
    read: createGate(places.read),
    insert: createGate(places.insert),
    control: createGate(places.control),
  }
  const named = new Map<string, Named>()

  async function run<T>(place: Place, setup: SessionSetup, work: (session: Session) => Promise<T>): Promise<T> {
    const leave = await gates[place].enter()
    try {
      const session = new Session(directory)
      try {
        prepare(session, setup)
        return await work(session)
      } finally {
        session.close()
      }
    } finally {
      leave()
    }
  }

  async function runNamed<T>(
    id: string,
    timeoutS: number,
    setup: SessionSetup,
    work: (session: Session) => Promise<T>,
  ): Promise<T> {
    if (setup.readOnly) throw readonlyError('session_id needs a request that may write: POST as the user agnes')
    const entry = named.get(id) ?? { session: new Session(directory), busy: false, expiry: undefined }
    named.set(id, entry)
    if (entry.busy) throw new EngineError(373, 'SESSION_IS_LOCKED', `Session ${id} is locked by a concurrent client.`)
    entry.busy = true
    clearTimeout(entry.expiry)
    const leave = await gates.read.enter()
    try {
      prepare(entry.session, setup)
      return await work(entry.session)
    } finally {
      reset(entry.session, setup)
      leave()
      entry.busy = false
      entry.expiry = setTimeout(() => {
        named.delete(id)
        entry.session.close()
      }, timeoutS * 1000).unref()
    }
  }

  async function close(): Promise<void> {
    await Promise.all(Object.values(gates).map((gate) => gate.drained()))
    for (const { session, expiry } of named.values()) {
      clearTimeout(expiry)
      session.close()
    }
    base.close()
  }

  return { run, runNamed, close }
}

/** Settings of the URL hold for one request, also in a session that lives on. */
function reset(session: Session, { settings }: SessionSetup): void {
  if (settings.size > 0) session.query(`SET ${[...settings.keys()].map((name) => `${name} = DEFAULT`).join(', ')}`)
}

/**
 * `SET readonly` comes last: after it the engine refuses every change of settings, also in a SETTINGS clause. So the
 * settings that come before it are checked here.
 */
function prepare(session: Session, { user, database, settings, params, readOnly }: SessionSetup): void {
  const refused = user === 'grafana' ? [...settings.keys()].find((name) => !readOnlyUserMaySet(name)) : undefined
  if (refused !== undefined) throw readonlyError(`the setting ${refused} may not be changed`)
  if (readOnly && settings.get('readonly') === '0') throw readonlyError('readonly may not be taken back')
  try {
    session.query(`USE \`${database.replaceAll('\\', '\\\\').replaceAll('`', '\\`')}\``)
    const assignments = [
      ...[...settings]
        .filter(([name]) => name !== 'readonly')
        .map(([name, value]) => `${identifier(name, 115, 'UNKNOWN_SETTING')} = ${quote(value)}`),
      ...[...params].map(([name, value]) => `param_${identifier(name, 36, 'BAD_ARGUMENTS')} = ${quote(value)}`),
    ]
    if (assignments.length > 0) session.query(`SET ${assignments.join(', ')}`)
    if (readOnly) session.query('SET readonly = 1')
  } catch (error) {
    throw error instanceof EngineError ? error : fromChdb(error as Error)
  }
}

function identifier(name: string, code: number, codeName: string): string {
  if (/^[A-Za-z_]\w*$/.test(name)) return name
  throw new EngineError(code, codeName, `'${name.slice(0, 100)}' is not a name.`)
}

interface Gate {
  /** Resolves with the function that leaves again. */
  enter(): Promise<() => void>
  drained(): Promise<void>
}

/** At most `limit` inside; the others wait in order of arrival. */
function createGate(limit: number): Gate {
  let inside = 0
  const waiting: (() => void)[] = []
  let whenEmpty: (() => void)[] = []

  function leave(): void {
    inside--
    waiting.shift()?.()
    if (inside === 0 && waiting.length === 0) {
      for (const resolve of whenEmpty) resolve()
      whenEmpty = []
    }
  }

  return {
    enter: () =>
      new Promise((resolve) => {
        const go = (): void => {
          inside++
          let left = false
          resolve(() => {
            if (!left) leave()
            left = true
          })
        }
        if (inside < limit) go()
        else waiting.push(go)
      }),
    drained: () =>
      inside === 0 && waiting.length === 0 ? Promise.resolve() : new Promise((resolve) => whenEmpty.push(resolve)),
  }
}
