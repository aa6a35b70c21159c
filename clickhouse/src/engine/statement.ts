/**
 * What a statement is, as far as the HTTP interface must know: where its inline data begins, which format it names,
 * and whether the read-only user may run it. ClickHouse's own parser (`formatQuery`) does the parsing; we only look
 * at its normalised text, in which comments are gone, keywords are upper-case and string literals are closed.
 */
import { EngineError } from './errors.ts'

/** Text with string literals and quoted identifiers blanked, so that a word found in it is code. Lengths are kept. */
export function blankQuoted(sql: string): string {
  return sql.replace(/'(?:[^'\\]|\\.|'')*'|`(?:[^`\\]|\\.|``)*`|"(?:[^"\\]|\\.|"")*"/gs, (quoted) =>
    ' '.repeat(quoted.length),
  )
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
  'merge',
  'null',
])

/**
 * Names the read-only user may not call: every table function that reaches files, processes or the network, and the
 * scalar functions that do.
 */
export function forbiddenFunctions(tableFunctions: readonly string[]): ReadonlySet<string> {
  const forbidden = tableFunctions.filter((name) => !harmlessTableFunctions.has(name))
  // `format` also names a harmless scalar function; as a table function it only reads its own argument.
  return new Set(
    [...forbidden.filter((name) => name !== 'format'), 'file', 'catboostEvaluate'].map((name) => name.toLowerCase()),
  )
}

const readOnlyStatement = /^\(*\s*(SELECT|WITH|SHOW|DESCRIBE|DESC|EXPLAIN|EXISTS)\b/

/**
 * Refuses what the read-only user may not do.
 * `readonly = 2` in the engine refuses writes to tables and changes to itself; but it still lets INTO OUTFILE and
 * INSERT INTO FUNCTION file(…) write, and file(…) or the `default` database (an overlay of the file system) read.
 * @param normalised the statement as formatQuery prints it
 */
export function refuseUnlessReadOnly(normalised: string, forbidden: ReadonlySet<string>): void {
  const code = blankQuoted(normalised)
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

function readonlyError(reason: string): EngineError {
  return new EngineError(164, 'READONLY', `Cannot execute query in readonly mode: ${reason}.`)
}

/** Formats that are text and line-oriented enough to stand behind the statement, as chDB takes inline data. */
const textFormats = /^(JSON|CSV|TSV|TabSeparated|Values|LineAsString|CustomSeparated|TSKV|Regexp|Template)/

export interface InsertWithData {
  readonly kind: 'text' | 'binary' | 'select'
  /** What follows INSERT INTO up to the column list: `db.table` or `TABLE FUNCTION …`. */
  readonly target: string
  /** Columns as written, or empty. */
  readonly columns: string
  readonly format: string
  /** For `INSERT … SELECT … FROM input('structure')`: the statement without its FORMAT. */
  readonly select: string
  readonly settings: string
}

/**
 * Takes an INSERT that expects data apart, from its normalised text.
 * @returns undefined if the statement expects no data
 */
export function insertWithData(normalised: string): InsertWithData | undefined {
  const code = blankQuoted(normalised)
  if (!code.startsWith('INSERT INTO ')) return undefined
  const format = / FORMAT (\w+)\s*$/.exec(code)
  if (format?.[1] === undefined) return undefined
  const head = normalised.slice(0, format.index)
  const headCode = code.slice(0, format.index)
  const formatName = format[1]
  if (/\binput\s*\(/.test(headCode)) {
    return { kind: 'select', target: '', columns: '', format: formatName, select: head, settings: '' }
  }
  if (/\b(SELECT|WITH)\b/.test(headCode)) return undefined
  const settingsAt = headCode.indexOf(' SETTINGS ')
  const settings = settingsAt < 0 ? '' : head.slice(settingsAt)
  const target = (settingsAt < 0 ? head : head.slice(0, settingsAt)).slice('INSERT INTO '.length)
  const columnsAt = blankQuoted(target).indexOf(' (')
  return {
    kind: textFormats.test(formatName) ? 'text' : 'binary',
    target: columnsAt < 0 ? target : target.slice(0, columnsAt),
    columns: columnsAt < 0 ? '' : target.slice(columnsAt + 1),
    format: formatName,
    select: '',
    settings,
  }
}

/** Puts a file in the place of `input('structure')`. */
export function readInputFrom(select: string, format: string, file: string): string {
  const at = blankQuoted(select).search(/\binput\s*\(/)
  const open = select.indexOf('(', at)
  return `${select.slice(0, at)}file(${quote(file)}, ${quote(format)}, ${select.slice(open + 1)}`
}

/** The format a SELECT names itself; undefined if it leaves that to the request. */
export function formatOf(sql: string): string | undefined {
  const tail = blankQuoted(sql.slice(-2_000))
  return /\bFORMAT\s+(\w+)\s*(?:SETTINGS\b[^()]*)?;?\s*$/i.exec(tail)?.[1]
}

/** A string literal. */
export function quote(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`
}
