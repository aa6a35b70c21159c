/** Colours, only on a terminal and only where they are wanted (https://no-color.org). */
import { styleText } from 'node:util'

type Style = 'bold' | 'dim' | 'green' | 'yellow' | 'red' | 'cyan'

/** `hasColors` heeds NO_COLOR, FORCE_COLOR and TERM=dumb. */
export const colorful = process.stdout.isTTY === true && process.stdout.hasColors()

const style =
  (name: Style) =>
  (text: string): string =>
    colorful ? styleText(name, text, { validateStream: false }) : text

export const paint = {
  bold: style('bold'),
  dim: style('dim'),
  green: style('green'),
  yellow: style('yellow'),
  red: style('red'),
  cyan: style('cyan'),
} as const
