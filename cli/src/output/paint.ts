/** Colours, only on a terminal and only where they are wanted (https://no-color.org). */
import { stripVTControlCharacters, styleText } from 'node:util'

type Style = 'bold' | 'dim' | 'green' | 'yellow' | 'red' | 'cyan'

const enabled = process.stdout.isTTY === true && !process.env.NO_COLOR

const style =
  (name: Style) =>
  (text: string): string =>
    enabled ? styleText(name, text, { validateStream: false }) : text

export const paint = {
  bold: style('bold'),
  dim: style('dim'),
  green: style('green'),
  yellow: style('yellow'),
  red: style('red'),
  cyan: style('cyan'),
} as const

/** Values come from events, hence from anybody: control characters could rewrite the terminal. */
export function harmless(text: string): string {
  return stripVTControlCharacters(text).replace(/[\p{Cc}\u202a-\u202e\u2066-\u2069]/gu, (char) =>
    char === '\n' || char === '\t' ? ' ' : '·',
  )
}
