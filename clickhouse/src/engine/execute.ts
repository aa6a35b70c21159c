/** Runs one request on the engine and gives its answer: a buffer, or a stream of chunks. */
import { randomUUID } from 'node:crypto'
import { unlink, writeFile } from 'node:fs/promises'
import path from 'node:path'
import type { Session } from 'chdb'
import { EngineError, fromChdb } from './errors.ts'
import { helloBlock, isHello } from './hello.ts'
import type { EngineRequest } from './request.ts'
import type { SessionSetup, Sessions } from './sessions.ts'
import {
  blankQuoted,
  forbiddenFunctions,
  formatOf,
  type InsertWithData,
  insertWithData,
  quote,
  readInputFrom,
  refuseUnlessReadOnly,
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
}

export interface Engine {
  readonly version: string
  execute(request: EngineRequest, sink: AnswerSink): Promise<void>
  close(): Promise<void>
}

export interface EngineContext {
  readonly sessions: Sessions
  /** Bodies of binary inserts pass through here. */
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

const outside: SessionSetup = { database: 'system', settings: new Map(), params: new Map(), readOnly: false }

export async function createEngine({ sessions, temporaryDirectory }: EngineContext): Promise<Engine> {
  const ask = (sql: string): Promise<string> =>
    sessions.run('read', outside, async (session) =>
      (await session.queryAsync(sql, { format: 'TSVRaw' })).text().trim(),
    )
  const version = await ask('SELECT version()')
  const forbidden = forbiddenFunctions((await ask('SELECT name FROM system.table_functions')).split('\n'))

  async function execute(request: EngineRequest, sink: AnswerSink): Promise<void> {
    const setup: SessionSetup = request
    const [sql, inlineData] = statementAndData(request)
    if (sql.trim() === '') throw new EngineError(62, 'SYNTAX_ERROR', 'Empty query.')
    if (request.defaultFormat === 'Native' && isHello(sql)) {
      const block = helloBlock('agnes', version)
      sink.start('Native', undefined)
      return sink.chunk(block)
    }
    const statement = stripEnd(sql)
    const isInsert = /^\s*INSERT\b/i.test(withoutComments(statement))
    // Our own parser's view is needed only where it decides something: it costs a query of its own.
    const normalised = request.readOnly || isInsert ? await normalise(statement) : undefined
    if (request.readOnly && normalised !== undefined) refuseUnlessReadOnly(normalised, forbidden)
    const insert = isInsert && normalised !== undefined ? insertWithData(normalised) : undefined
    const work = (session: Session): Promise<void> => {
      if (insert === undefined) return select(session, statement, request, sink)
      return insertData(session, insert, statement, inlineData, sink)
    }
    if (request.sessionId === undefined) return sessions.run(isInsert ? 'insert' : 'read', setup, work)
    return sessions.runNamed(request.sessionId, request.sessionTimeoutS, setup, work)
  }

  /** The statement as ClickHouse's parser prints it; refuses several statements in one. */
  function normalise(sql: string): Promise<string> {
    return sessions.run('read', { ...outside, params: new Map([['sql', escaped(sql)]]) }, async (session) => {
      try {
        return (await session.queryAsync('SELECT formatQuerySingleLine({sql:String})', { format: 'TSVRaw' }))
          .text()
          .trim()
      } catch (error) {
        const { message } = fromChdb(error as Error)
        throw new EngineError(62, 'SYNTAX_ERROR', message.replace(/: (?:In scope|while executing)[\s\S]*$/, ''))
      }
    })
  }

  async function insertData(
    session: Session,
    insert: InsertWithData,
    statement: string,
    data: Buffer,
    sink: AnswerSink,
  ): Promise<void> {
    if (insert.kind === 'text') {
      await query(session, `${statement}\n${data.toString('utf8')}`, 'TabSeparated')
    } else {
      const file = path.join(temporaryDirectory, `${randomUUID()}.insert`)
      await writeFile(file, data, { mode: 0o600 })
      try {
        await query(session, await insertFromFile(session, insert, file), 'TabSeparated')
      } finally {
        await unlink(file)
      }
    }
    sink.start('TabSeparated', undefined)
  }

  /** chDB has no standard input: the body lies in a file, and the statement reads it from there. */
  async function insertFromFile(session: Session, insert: InsertWithData, file: string): Promise<string> {
    const { format, target, columns, settings, select: withInput } = insert
    if (insert.kind === 'select') return readInputFrom(withInput, format, file)
    if (format === 'RowBinary') {
      // Carries no names: the columns of the statement, or of the table, in order.
      const described = await describe(session, target)
      const wanted = columns === '' ? described : columnsOf(columns, described)
      const structure = wanted.map(({ name, type }) => `${name} ${type}`).join(', ')
      const list = wanted.map(({ name }) => name).join(', ')
      return `INSERT INTO ${target} (${list}) SELECT ${list} FROM file(${quote(file)}, 'RowBinary', ${quote(structure)})${settings}`
    }
    const named = await rows(session, `DESCRIBE TABLE file(${quote(file)}, ${quote(format)})`)
    const list = columns === '' ? `(${named.map(({ name }) => name).join(', ')})` : columns
    return `INSERT INTO ${target} ${list} SELECT ${list.slice(1, -1)} FROM file(${quote(file)}, ${quote(format)})${settings}`
  }

  return { version, execute, close: () => sessions.close() }
}

interface Column {
  /** Quoted where it must be. */
  readonly name: string
  readonly type: string
}

/** Columns an INSERT without a list fills: those that are not computed. */
async function describe(session: Session, table: string): Promise<Column[]> {
  return (await rows(session, `DESCRIBE TABLE ${table}`)).filter(
    ({ kind }) => kind !== 'ALIAS' && kind !== 'MATERIALIZED',
  )
}

/** The columns of a statement's list, with their types. */
function columnsOf(list: string, described: readonly Column[]): Column[] {
  return list
    .slice(1, -1)
    .split(',')
    .map((text) => {
      const name = text.trim()
      const column = described.find((candidate) => candidate.name === name)
      if (column !== undefined) return column
      throw new EngineError(16, 'NO_SUCH_COLUMN_IN_TABLE', `There is no column ${name} to insert RowBinary into.`)
    })
}

async function rows(session: Session, describeStatement: string): Promise<(Column & { readonly kind: string })[]> {
  const text = (await query(session, describeStatement, 'JSONEachRow')).text()
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const { name, type, default_type } = JSON.parse(line) as { name: string; type: string; default_type: string }
      return {
        name: /^[A-Za-z_]\w*$/.test(name) ? name : `\`${name.replaceAll('`', '\\`')}\``,
        type,
        kind: default_type,
      }
    })
}

async function query(session: Session, sql: string, format: string) {
  try {
    return await session.queryAsync(sql, { format })
  } catch (error) {
    throw fromChdb(error as Error)
  }
}

async function select(session: Session, statement: string, request: EngineRequest, sink: AnswerSink): Promise<void> {
  const format = formatOf(statement) ?? request.defaultFormat
  const isRead = /^\s*\(*\s*(SELECT|WITH)\b/i.test(withoutComments(statement))
  if (isRead && streamableFormats.has(format)) return stream(session, statement, format, sink)
  const result = await query(session, statement, format)
  const bytes = result.bytes()
  sink.start(format, {
    readRows: result.rowsRead,
    readBytes: result.bytesRead,
    resultBytes: bytes.length,
    elapsedNs: Math.round(result.elapsed * 1e9),
  })
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

/**
 * The statement and the data behind it. With a statement in the URL the body is its data, or (without an INSERT that
 * expects data) its continuation. In the body alone, data begins after `FORMAT name` or stays with `VALUES`.
 */
function statementAndData({ query: fromUrl, body }: EngineRequest): [string, Buffer] {
  if (fromUrl.trim() !== '') {
    if (body.length === 0 || /^\s*INSERT\b/i.test(withoutComments(fromUrl))) return [fromUrl, body]
    return [`${fromUrl}\n${body.toString('utf8')}`, Buffer.alloc(0)]
  }
  const head = body.subarray(0, 64 * 1024).toString('latin1')
  if (!/^\s*INSERT\b/i.test(withoutComments(head))) return [body.toString('utf8'), Buffer.alloc(0)]
  const code = blankQuoted(head)
  const format = /\bFORMAT\s+\w+[ \t]*(?:\r?\n|;?[ \t]*\r?\n|$)/i.exec(code)
  const inline = /\bFORMAT\s+(?!Values\b)\w+\s+(?=\S)/i.exec(code)
  const end = format !== null ? format.index + format[0].length : inline !== null ? inline.index + inline[0].length : -1
  if (end < 0) return [body.toString('utf8'), Buffer.alloc(0)]
  return [body.subarray(0, end).toString('utf8'), body.subarray(end)]
}

/** ClickHouse's clients may end a statement with a semicolon; what follows a second one is refused by the parser. */
function stripEnd(sql: string): string {
  const statement = sql.replace(/[;\s]+$/, '')
  const separator = blankQuoted(withoutComments(statement)).indexOf(';')
  if (separator < 0 || /^\s*INSERT\b/i.test(withoutComments(statement))) return statement
  throw new EngineError(
    62,
    'SYNTAX_ERROR',
    `Syntax error (Multi-statements are not allowed): failed at position ${separator + 1}.`,
  )
}

/** Comments outside of quotes become blanks. */
function withoutComments(sql: string): string {
  return sql.replace(
    /'(?:[^'\\]|\\.|'')*'|`(?:[^`\\]|\\.|``)*`|"(?:[^"\\]|\\.|"")*"|--[^\n]*|#![^\n]*|\/\*[\s\S]*?\*\//g,
    (part) => (part.startsWith('--') || part.startsWith('/*') || part.startsWith('#!') ? ' ' : part),
  )
}

/** A value as query parameters carry it: ClickHouse's Escaped form. */
function escaped(text: string): string {
  return text
    .replaceAll('\\', '\\\\')
    .replaceAll('\t', '\\t')
    .replaceAll('\n', '\\n')
    .replaceAll('\r', '\\r')
    .replaceAll('\0', '\\0')
}
