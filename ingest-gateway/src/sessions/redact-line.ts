/** Takes secrets out of a line of a transcript; what was JSON stays JSON. */
import { Buffer, isUtf8 } from 'node:buffer'
import type { Redactor } from '@agnes/redaction'

export interface RedactedLine {
  readonly line: Buffer
  readonly redactions: readonly string[]
}

const path = 'line'

export function redactLine(redactor: Redactor, line: Buffer): RedactedLine {
  if (redactor.candidates(line)?.length === 0) return { line, redactions: [] }
  // Bytes that are no text come back as they were: one character a byte.
  const encoding = isUtf8(line) ? 'utf8' : 'latin1'
  const text = line.toString(encoding)
  const shown = redactor.text(text, path)
  const redactions = redactor.take()
  if (shown === text) return { line, redactions }
  // A text that holds too many secrets, or that a rule failed on, is taken out whole.
  const whole = /^\s*[{[]/.test(text) && /^\[redacted (?:limit|error)\]$/.test(shown)
  return { line: Buffer.from(whole ? inJson(shown) : shown, encoding), redactions }
}

function inJson(text: string): string {
  return JSON.stringify({ type: 'agnes-line-redacted', text })
}
