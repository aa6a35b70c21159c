/**
 * What a statement is, as far as the HTTP interface must know: where its inline data begins, which format it names,
 * and whether the read-only user may run it. ClickHouse's own parser (`formatQuery`) does the parsing; we only look
 * at its normalised text, in which comments are gone, keywords are upper-case and string literals are closed.
 */
import { lexSql } from '../migrate/split.ts'
import { EngineError } from './errors.ts'

/** Text with strings, quoted names and comments blanked, so that a word found in it is code. Lengths are kept. */
export function codeOf(sql: string): string {
  return lexSql(sql)
    .map(({ kind, text }) => (kind === 'code' || kind === 'end' ? text : ' '.repeat(text.length)))
    .join('')
}

/** Table functions that stay within the engine: they make rows up or read the tables the user may read anyway. */
const harmlessTableFunctions = new Set([
  'numbers',
  'numbers_mt',
  'zeros',
  'zeros_mt',
  'generateSeries',
  'generate_series',
  'generateRandom',
  'values',
  'view',
  'null',
  // Also names a harmless scalar function; as a table function it only reads its own argument.
  'format',
])

/**
 * Names the read-only user may not call: every table function that reaches files, processes or the network, and the
 * scalar functions that do.
 */
export function forbiddenFunctions(tableFunctions: readonly string[]): ReadonlySet<string> {
  const forbidden = tableFunctions.filter((name) => !harmlessTableFunctions.has(name))
  return new Set([...forbidden, 'file', 'catboostEvaluate'].map((name) => name.toLowerCase()))
}

const readOnlyStatement = /^\(*\s*(SELECT|WITH|SHOW|DESCRIBE|DESC|EXPLAIN|EXISTS)\b/

/**
 * Refuses what the read-only user may not do. The engine's `readonly = 1` is the wall; this stands before it for what
 * that lets through: INTO OUTFILE writes, the scalar `file(…)` and `DESCRIBE file(…)` read, and the database `default`
 * is an overlay of the file system.
 * @param normalised the statement as formatQuery prints it
 */
export function refuseUnlessReadOnly(normalised: string, forbidden: ReadonlySet<string>): void {
  const code = codeOf(normalised)
  if (!readOnlyStatement.test(code)) throw readonlyError('only SELECT, SHOW, DESCRIBE, EXPLAIN and EXISTS may be run')
  if (/\bINSERT\s+INTO\b|\bINTO\s+OUTFILE\b/.test(code)) throw readonlyError('it may not write')
  for (const [, name = ''] of code.matchAll(/\b([A-Za-z_]\w*)\s*\(/g)) {
    if (forbidden.has(name.toLowerCase())) throw readonlyError(`the function ${name} reaches beyond the database`)
  }
  // Quoted names are blanked in `code`, so they are looked for in the text itself.
  if (/(^|[^\w.])[`"]?default[`"]?\s*\.\s*[`"\w]/.test(normalised)) {
    throw readonlyError('the database "default" stands for the file system')
  }
}

export function readonlyError(reason: string): EngineError {
  return new EngineError(164, 'READONLY', `Cannot execute query in readonly mode: ${reason}.`)
}

/**
 * Settings the read-only user may bring along: limits and the look of the output. Not among them are all that hold
 * expressions, schemas or templates: they would be a second way to write a query, or to reach a file.
 */
export function readOnlyUserMaySet(name: string): boolean {
  return (
    /^(max_(execution_time|threads|result_rows|result_bytes|rows_to_read|bytes_to_read|memory_usage|block_size)|limit|offset)$/.test(
      name,
    ) ||
    /^(read_overflow_mode|result_overflow_mode|timeout_overflow_mode|session_timezone|date_time_output_format)$/.test(
      name,
    ) ||
    /^(join_use_nulls|extremes|log_comment|async_insert|distributed_foreground_insert|readonly)$/.test(name) ||
    /^output_format_(json|csv|tsv|pretty|parquet|arrow|native)_\w+$/.test(name)
  )
}

export interface InsertWithData {
  /** `INSERT … SELECT … FROM input('structure')`, or a plain insert into a table. */
  readonly kind: 'select' | 'table'
  /** The statement up to its settings and FORMAT, as ClickHouse prints it. */
  readonly head: string
  /** ` SETTINGS …`, or empty. */
  readonly settings: string
  readonly format: string
}

/**
 * Takes an INSERT that expects data apart, from its normalised text.
 * @returns undefined if the statement expects no data
 */
export function insertWithData(normalised: string): InsertWithData | undefined {
  const code = codeOf(normalised)
  if (!code.startsWith('INSERT INTO ')) return undefined
  const format = / FORMAT (\w+)\s*$/.exec(code)
  if (format?.[1] === undefined) return undefined
  const beforeFormat = code.slice(0, format.index)
  const isSelect = /\b(SELECT|WITH)\b/.test(beforeFormat)
  if (isSelect && !/\binput\s*\(/.test(beforeFormat)) return undefined
  if (isSelect) return { kind: 'select', head: normalised.slice(0, format.index), settings: '', format: format[1] }
  const settingsAt = beforeFormat.indexOf(' SETTINGS ')
  const end = settingsAt < 0 ? format.index : settingsAt
  return {
    kind: 'table',
    head: normalised.slice(0, end),
    settings: normalised.slice(end, format.index),
    format: format[1],
  }
}

/**
 * The insert, reading its data from a file: chDB has no standard input, and takes data behind a statement for further
 * statements where it holds a blank line.
 */
export function insertFromFile({ kind, head, settings, format }: InsertWithData, file: string): string {
  if (kind === 'table') return `${head} FROM INFILE ${quote(file)} COMPRESSION 'none'${settings} FORMAT ${format}`
  const at = codeOf(head).search(/\binput\s*\(/)
  const open = head.indexOf('(', at)
  return `${head.slice(0, at)}file(${quote(file)}, ${quote(format)}, ${head.slice(open + 1)}`
}

/** Where the inline data of an INSERT begins in its text; -1 if the text is only the statement. */
export function dataStart(sql: string): number {
  const code = codeOf(sql)
  const values = /^\s*INSERT\b[^;]*?\bVALUES\b/i.exec(code)
  if (values !== null && !/\b(SELECT|FORMAT)\b/i.test(values[0])) return values[0].length
  const format = /^\s*INSERT\b[^;]*?\bFORMAT\s+\w+[ \t]*(?:\r?\n)?/i.exec(code)
  return format === null ? -1 : format[0].length
}

export function isInsert(sql: string): boolean {
  return /^\s*INSERT\b/i.test(codeOf(sql.slice(0, 4_000)))
}

/** ClickHouse's `readonly` lets BACKUP through, which writes files. */
export function isBackup(sql: string): boolean {
  return /^\s*BACKUP\b/i.test(codeOf(sql.slice(0, 4_000)))
}

/** The format a SELECT names itself; undefined if it leaves that to the request. */
export function formatOf(sql: string): string | undefined {
  return /\bFORMAT\s+(\w+)\s*(?:SETTINGS\b[^()]*)?;?\s*$/i.exec(codeOf(sql))?.[1]
}

/** The statement without the semicolon clients may end it with. @throws EngineError if another one follows */
export function singleStatement(sql: string): string {
  const code = codeOf(sql)
  const separator = code.indexOf(';')
  if (separator < 0) return sql
  if (/^[;\s]*$/.test(code.slice(separator))) return sql.slice(0, separator)
  throw new EngineError(
    62,
    'SYNTAX_ERROR',
    `Syntax error (Multi-statements are not allowed): failed at position ${separator + 1}.`,
  )
}

/** A string literal. */
export function quote(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`
}
