/** CSV (RFC 4180) that a spreadsheet does not take for formulas and a terminal not for commands. */

/** Cells that begin so are run as formulas by spreadsheets (OWASP, "CSV Injection"), the full-width forms too. */
const formulaStart = /^\s*[=+\-@＝＋－＠\t\r\n]/
/** Is no formula, and should stay a number. */
const number = /^-?\d+(\.\d+)?$/
/** Control characters but tab and line breaks, which a quoted cell may hold. */
const control = /(?![\t\n\r])\p{Cc}/gu

export function csvLine(values: readonly (string | number | null)[]): string {
  return `${values.map(csvCell).join(',')}\r\n`
}

function csvCell(value: string | number | null): string {
  if (value === null) return ''
  const text = String(value).replace(control, '\ufffd')
  const safe = formulaStart.test(text) && !number.test(text) ? `'${text}` : text
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe
}
