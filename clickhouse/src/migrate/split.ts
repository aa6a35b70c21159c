/** Cuts a migration file into statements without being fooled by a `;` in a string, a name, a comment or a heredoc. */

/** One lexical piece of SQL; `text` of all pieces in order is the input. */
export interface SqlPiece {
  readonly kind: 'code' | 'string' | 'name' | 'comment' | 'end'
  readonly text: string
}

// In this order: comments, quoted text (backslash and doubled-quote escapes), heredoc, end of statement, anything else.
const piece =
  /(?<comment>--[^\n]*|#[ !][^\n]*|\/\*[\s\S]*?\*\/)|(?<string>'(?:[^'\\]|\\[\s\S]|'')*'|\$(?<tag>\w*)\$[\s\S]*?\$\k<tag>\$)|(?<name>`(?:[^`\\]|\\[\s\S]|``)*`|"(?:[^"\\]|\\[\s\S]|"")*")|(?<end>;)|(?<code>[^-#/'$`";]+|[-#/'$`"])/gy

/** Lexes SQL as ClickHouse does, as far as quoting and comments go. */
export function lexSql(sql: string): SqlPiece[] {
  const pieces: SqlPiece[] = []
  for (const match of sql.matchAll(piece)) {
    const groups = match.groups ?? {}
    const kind = (['comment', 'string', 'name', 'end'] as const).find((name) => groups[name] !== undefined) ?? 'code'
    pieces.push({ kind, text: match[0] })
  }
  return pieces
}

/** Statements in order, trimmed, each with the comments that stand before it; pieces that are only comments are dropped. */
export function splitStatements(sql: string): string[] {
  const statements: string[] = []
  let text = ''
  let hasCode = false
  const finish = () => {
    if (hasCode) statements.push(text.trim())
    text = ''
    hasCode = false
  }
  for (const { kind, text: part } of lexSql(sql)) {
    if (kind === 'end') {
      finish()
      continue
    }
    text += part
    hasCode ||= kind !== 'comment' && part.trim() !== ''
  }
  finish()
  return statements
}
