/**
 * SQL without what people wrote into it: every literal becomes `?`. Names, keywords and shape stay, so one can see what a
 * query did and not about whom. What cannot be told from a literal is taken for one.
 */

/** How statements begin. */
const statement =
  /^(?:select|with|insert|update|delete|merge|create|alter|drop|truncate|explain|copy|call|execute|exec|values|show|describe|grant|revoke|attach|use|pragma)\s+\S/i

/** What a sentence has that quotes a statement, such as an error about one. */
const quoted: readonly (readonly RegExp[])[] = [
  [/\bselect\b/i, /\bfrom\b/i],
  [/\binsert\s+into\b/i],
  [/\bupdate\b/i, /\bset\b/i],
  [/\bdelete\s+from\b/i],
]

/** Keys whose text is SQL whatever it looks like. */
const sqlKey = /(?:^|[._-])(?:sql|query|statement)$/i

/** Literals and comments, then what looks like the beginning of one and has no end. */
const literals =
  /--[^\n]*|\/\*[\s\S]*?(?:\*\/|$)|\$(\w*)\$[\s\S]*?(?:\$\1\$|$)|[exbnEXBN]?'(?:[^'\\]|\\(?:[\s\S]|$)|'')*(?:'|$)|"(?:[^"]|"")*"|`[^`]*`|\b0x[0-9a-f]+\b|(?<![\w$@#.])\d+(?:\.\d+)?(?:e[+-]?\d+)?\b/gi

/** Whether a text that stands under this key is SQL. */
export function isSql(text: string, key = ''): boolean {
  return sqlKey.test(key) || statement.test(text.slice(beginning(text)))
}

export function quotesSql(text: string): boolean {
  return quoted.some((words) => words.every((word) => word.test(text)))
}

/** `select * from t where name = 'Ada' and n > 7` becomes `select * from t where name = ? and n > ?`. */
export function maskSql(sql: string): string {
  return sql.replace(literals, (found) => {
    if (found.startsWith('--') || found.startsWith('/*')) return ''
    // Quoted names are no literals; some dialects quote text so, and a name has no blanks as a rule.
    if (found.startsWith('"') || found.startsWith('`')) return /^.[\w.$-]*.$/.test(found) ? found : '?'
    return '?'
  })
}

/** Where a statement begins: after blanks, brackets and comments. By hand, as a pattern would try every way to read them. */
function beginning(text: string): number {
  let at = 0
  for (;;) {
    if (/^[\s(]$/.test(text[at] ?? '')) at++
    else if (text.startsWith('--', at)) at = endOf(text, '\n', at)
    else if (text.startsWith('/*', at)) at = endOf(text, '*/', at + 2)
    else return at
  }
}

function endOf(text: string, end: string, from: number): number {
  const found = text.indexOf(end, from)
  return found < 0 ? text.length : found + end.length
}
