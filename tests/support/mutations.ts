/** Good requests made bad: by a byte, by a field of the message, by a token of the JSON. */
import { type Dice, pick } from './dice.ts'
import type { Field } from './protobuf-wire.ts'

/** Changes a few bytes, anywhere: flips, extremes, cuts, insertions, and pieces of another request. */
export function mutateBytes(bytes: Uint8Array, other: Uint8Array, roll: Dice): Buffer {
  let result = Buffer.from(bytes)
  for (let times = 1 + roll(3); times > 0; times--) result = mutateOnce(result, other, roll)
  return result
}

/** Ends of varints, lengths of nearly nothing and of nearly everything, tags of groups. */
const extremes = [0x00, 0x01, 0x07, 0x0a, 0x12, 0x7f, 0x80, 0xff, 0x0b, 0x0c]

function mutateOnce(bytes: Buffer, other: Uint8Array, roll: Dice): Buffer<ArrayBuffer> {
  const at = roll(bytes.length + 1)
  const length = 1 + roll(8)
  const [before, after] = [bytes.subarray(0, at), bytes.subarray(at)]
  switch (roll(7)) {
    case 0: {
      const flipped = Buffer.from(bytes)
      if (at < flipped.length) flipped[at] = (flipped[at] as number) ^ (1 << roll(8))
      return flipped
    }
    case 1: {
      const set = Buffer.from(bytes)
      if (at < set.length) set[at] = pick(extremes, roll)
      return set
    }
    case 2:
      return Buffer.from(before)
    case 3:
      return Buffer.concat([before, after.subarray(length)])
    case 4:
      return Buffer.concat([before, Buffer.from(Array.from({ length }, () => roll(256))), after])
    case 5: {
      const start = roll(other.length + 1)
      return Buffer.concat([before, other.subarray(start, start + roll(64)), after])
    }
    default:
      return Buffer.concat([before, bytes.subarray(at, at + length), after])
  }
}

/** Changes the tree of a message, so that every length still fits: the decoder gets further than with changed bytes. */
export function mutateFields(fields: readonly Field[], roll: Dice): Field[] {
  const at = roll(fields.length + 1)
  const field = fields[at]
  if (field === undefined) return [...fields, anyField(roll)]
  const others = [...fields.slice(0, at), ...fields.slice(at + 1)]
  const children = 'message' in field ? field.message : 'group' in field ? field.group : undefined
  // Mostly further down: near the root there is little to break.
  if (children !== undefined && roll(5) > 0) {
    const changed = mutateFields(children, roll)
    return replaced(fields, at, 'group' in field ? { ...field, group: changed } : { ...field, message: changed })
  }
  switch (roll(7)) {
    case 0:
      return others
    case 1:
      return replaced(fields, at, field, field)
    case 2:
      return replaced(fields, at, { ...anyField(roll), number: field.number } as Field)
    case 3:
      return replaced(fields, at, { ...field, number: 1 + roll(16) })
    case 4:
      return [...others, field]
    case 5:
      return replaced(fields, at, { number: field.number, message: [field] })
    default:
      return replaced(fields, at, field, anyField(roll))
  }
}

function replaced(fields: readonly Field[], at: number, ...by: Field[]): Field[] {
  return [...fields.slice(0, at), ...by, ...fields.slice(at + 1)]
}

function anyField(roll: Dice): Field {
  const number = pick([1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 15, 1_000, 2 ** 29 - 1], roll)
  switch (roll(7)) {
    case 0:
      return { number, varint: pick([0n, 1n, 2n ** 31n, 2n ** 63n, 2n ** 64n - 1n], roll) }
    case 1:
      return { number, fixed32: roll(2 ** 32) }
    case 2:
      return { number, fixed64: pick([0n, 2n ** 63n, 2n ** 64n - 1n], roll) }
    case 3:
      return { number, double: pick([0, Number.NaN, Infinity, 5e-324], roll) }
    case 4:
      return { number, bytes: Buffer.from(Array.from({ length: roll(20) }, () => roll(256))) }
    case 5:
      return { number, message: [] }
    default:
      return { number, group: roll(2) === 0 ? [] : [{ number: 1, varint: 1n }] }
  }
}

const tokenPattern = /"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g

const oddTokens = [
  ...[
    'null',
    'true',
    '0',
    '-0',
    '1e999',
    '-1',
    '1.5',
    '18446744073709551615',
    '[]',
    '{}',
    '""',
    '"\\ud800"',
    '"\\u0000"',
  ],
  ...[
    '"__proto__"',
    '"constructor"',
    '"stringValue"',
    '"values"',
    '"key"',
    '{',
    '}',
    '[',
    ']',
    ',',
    ':',
    '"',
    '/**/',
    '01',
  ],
  `${'['.repeat(100)}${']'.repeat(100)}`,
]

/** Changes a few tokens of a JSON text; mostly it is JSON still. */
export function mutateJson(text: string, roll: Dice): string {
  const tokens: string[] = text.match(tokenPattern) ?? []
  for (let times = 1 + roll(3); times > 0; times--) {
    const at = roll(tokens.length)
    switch (roll(5)) {
      case 0:
        tokens.splice(at, 1)
        break
      case 1:
        tokens.splice(at, 0, tokens[at] ?? '')
        break
      case 2: {
        const other = roll(tokens.length)
        ;[tokens[at], tokens[other]] = [tokens[other] ?? '', tokens[at] ?? '']
        break
      }
      default:
        tokens[at] = pick(oddTokens, roll)
    }
  }
  return tokens.join('')
}
