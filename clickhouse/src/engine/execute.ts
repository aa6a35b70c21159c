/** Runs one request on the engine and gives its answer: a buffer, or a stream of chunks. */
import { randomUUID } from 'node:crypto'
import { unlink, writeFile } from 'node:fs/promises'
import path from 'node:path'
import type { Session } from 'chdb'
import { EngineError, fromChdb } from './errors.ts'
import { emptyBlock, helloBlock, isHello } from './native.ts'
import type { EngineRequest } from './request.ts'
import type { SessionSetup, Sessions } from './sessions.ts'
import {
  codeOf,
  dataStart,
  forbiddenFunctions,
  formatOf,
  insertFromFile,
  insertWithData,
  isBackup,
  isInsert,
  quote,
  readonlyError,
  refuseUnlessReadOnly,
  singleStatement,
} from './statement.ts'

export interface Summary {
  readonly readRows: number
  readonly readBytes: number
  readonly resultBytes: number
  readonly elapsedNs: number
}

/** Where an answer goes. `start` comes before the first `chunk`; a chunk's promise resolves when more may follow. */
export interface AnswerSink {
  start(format: string, summary: Summary | undefined): void
  chunk(bytes: Uint8Array): Promise<void>
  /** The client is gone: nothing more needs to be computed. */
  readonly gone: boolean
  /** Calls back when the client goes before it was answered. @returns how to no longer be called */
  onGone(listener: () => void): () => void
}

export interface Engine {
  readonly version: string
  execute(request: EngineRequest, sink: AnswerSink): Promise<void>
  close(): Promise<void>
}

export interface EngineContext {
  readonly sessions: Sessions
  /** Bodies of inserts pass through here. */
  readonly temporaryDirectory: string
}

/** Formats whose output has no beginning and end of its own: chunks may follow each other. */
const streamableFormats = new Set([
  'JSONEachRow',
  'JSONCompactEachRow',
  'JSONStringsEachRow',
  'JSONCompactStringsEachRow',
  'TSV',
  'TabSeparated',
  'TSVRaw',
  'TabSeparatedRaw',
  'CSV',
  'RowBinary',
])

/** Writers send the same statement before each batch: its printed form is kept, which saves a query for each. */
const mostKept = 100
/** Characters. */
const longestKept = 10_000

/** For questions of our own. */
const own: SessionSetup = { user: 'agnes', database: 'system', settings: new Map(), params: new Map(), readOnly: false }

export async function createEngine({ sessions, temporaryDirectory }: EngineContext): Promise<Engine> {
  const ask = (sql: string, params: ReadonlyMap<string, string> = new Map()): Promise<string> =>
    sessions.run('control', { ...own, params }, async (session) => (await query(session, sql, 'TSVRaw')).text().trim())
  const version = await ask('SELECT version()')
  const normalised = new Map<string, string>()
  const forbidden = forbiddenFunctions((await ask('SELECT name FROM system.table_functions')).split('\n'))

  async function execute(request: EngineRequest, sink: AnswerSink): Promise<void> {
    const { statement, data } = statementAndData(request)
    if (codeOf(statement).trim() === '') throw new EngineError(62, 'SYNTAX_ERROR', 'Empty query.')
    if (request.defaultFormat === 'Native' && isHello(statement)) {
      sink.start('Native', undefined)
      return sink.chunk(helloBlock('agnes', version))
    }
    if (request.user === 'grafana') refuseUnlessReadOnly(await normalise(statement), forbidden)
    if (request.readOnly && isBackup(statement)) throw readonlyError('BACKUP writes files')
    const insert = isInsert(statement) ? insertWithData(await normalise(statement)) : undefined
    // The tag finds the query again, to end it when its client goes away: this one, not all that share a comment.
    const tag = randomUUID()
    const comment = request.settings.get('log_comment')
    const settings = new Map(request.settings).set('log_comment', comment === undefined ? tag : `${comment} ${tag}`)
    const setup: SessionSetup = { ...request, settings }
    const stopWatching = sink.onGone(() => void kill(tag))
    const work = async (session: Session): Promise<void> => {
      if (sink.gone) return
      if (insert === undefined) return select(session, statement, request, sink)
      await withFile(data, (file) => query(session, insertFromFile(insert, file), 'TabSeparated'))
      sink.start('TabSeparated', undefined)
    }
    try {
      if (request.sessionId !== undefined) {
        await sessions.runNamed(request.sessionId, request.sessionTimeoutS, setup, work)
      } else await sessions.run(isInsert(statement) ? 'insert' : 'read', setup, work)
    } finally {
      stopWatching()
    }
  }

  /** The statement as ClickHouse's parser prints it; it refuses several statements in one. */
  async function normalise(statement: string): Promise<string> {
    const known = normalised.get(statement)
    if (known !== undefined) return known
    const printed = await print(statement)
    if (statement.length <= longestKept) normalised.set(statement, printed)
    // The oldest goes first.
    for (const oldest of normalised.keys()) {
      if (normalised.size <= mostKept) break
      normalised.delete(oldest)
    }
    return printed
  }

  async function print(statement: string): Promise<string> {
    try {
      return await ask('SELECT formatQuerySingleLine({sql:String})', new Map([['sql', escaped(statement)]]))
    } catch (error) {
      const { message } = error as EngineError
      throw new EngineError(62, 'SYNTAX_ERROR', message.replace(/: (?:In scope|while executing)[\s\S]*$/, ''))
    }
  }

  async function kill(tag: string): Promise<void> {
    await ask(`KILL QUERY WHERE endsWith(Settings['log_comment'], ${quote(tag)}) ASYNC`).catch(() => {})
  }

  async function withFile(data: Buffer, work: (file: string) => Promise<unknown>): Promise<void> {
    const file = path.join(temporaryDirectory, `${randomUUID()}.insert`)
    await writeFile(file, data, { mode: 0o600 })
    try {
      await work(file)
    } finally {
      await unlink(file)
    }
  }

  return { version, execute, close: () => sessions.close() }
}

async function query(session: Session, sql: string, format: string) {
  try {
    return await session.queryAsync(sql, { format })
  } catch (error) {
    throw fromChdb(error as Error)
  }
}

async function select(session: Session, statement: string, request: EngineRequest, sink: AnswerSink): Promise<void> {
  const named = formatOf(statement)
  const format = named ?? request.defaultFormat
  const isSelect = /^\s*\(*\s*(SELECT|WITH)\b/i.test(codeOf(statement))
  if (isSelect && streamableFormats.has(format)) return stream(session, statement, format, sink)
  const result = await query(session, statement, format)
  const bytes = result.bytes()
  sink.start(format, {
    readRows: result.rowsRead,
    readBytes: result.bytesRead,
    resultBytes: bytes.length,
    elapsedNs: Math.round(result.elapsed * 1e9),
  })
  // chDB writes no block for no rows; a reader of Native needs one to know the columns.
  if (format === 'Native' && isSelect && named === undefined && bytes.length === 0) {
    const described = await query(session, `DESCRIBE TABLE (${statement}\n)`, 'JSONCompactEachRow')
    return sink.chunk(emptyBlock(described.text()))
  }
  await sink.chunk(bytes)
}

async function stream(session: Session, statement: string, format: string, sink: AnswerSink): Promise<void> {
  let started = false
  try {
    for await (const chunk of session.queryStream(statement, { format })) {
      if (sink.gone) return
      if (!started) sink.start(format, undefined)
      started = true
      await sink.chunk(chunk.raw())
    }
  } catch (error) {
    throw fromChdb(error as Error)
  }
  if (!started) sink.start(format, undefined)
}

/** Statements are read up to here when data follows them. */
const maxHeadBytes = 256 * 1024

/**
 * The statement and the data behind it. An INSERT's data begins behind its FORMAT or VALUES, in the URL's text or in
 * the body; a body behind any other statement in the URL continues it.
 */
function statementAndData({ query: fromUrl, body }: EngineRequest): { statement: string; data: Buffer } {
  if (fromUrl.trim() !== '' && !isInsert(fromUrl)) {
    return {
      statement: singleStatement(body.length === 0 ? fromUrl : `${fromUrl}\n${body.toString('utf8')}`),
      data: Buffer.alloc(0),
    }
  }
  const source = fromUrl.trim() === '' ? body : Buffer.from(fromUrl)
  const rest = fromUrl.trim() === '' ? Buffer.alloc(0) : body
  // Latin-1 keeps offsets the same in text and bytes.
  const head = source.subarray(0, maxHeadBytes).toString('latin1')
  const start = isInsert(head) ? dataStart(head) : -1
  if (start < 0) return { statement: singleStatement(source.toString('utf8')), data: rest }
  const statement = source.subarray(0, start).toString('utf8')
  const data = Buffer.concat([source.subarray(start), rest])
  return { statement, data: /\bVALUES\s*$/i.test(codeOf(statement)) ? withoutSemicolon(data) : data }
}

/** `INSERT … VALUES (…);` as people type it. */
function withoutSemicolon(data: Buffer): Buffer {
  let end = data.length
  while (end > 0 && ' \t\r\n;'.includes(String.fromCharCode(data[end - 1] as number))) end--
  return data.subarray(0, end)
}

/** A value as query parameters carry it: ClickHouse's Escaped form. */
function escaped(text: string): string {
  const letters: Readonly<Record<string, string>> = { '\\': '\\\\', '\t': '\\t', '\n': '\\n', '\r': '\\r', '\0': '\\0' }
  return text.replace(/[\\\t\n\r\0]/g, (char) => letters[char] as string)
}
