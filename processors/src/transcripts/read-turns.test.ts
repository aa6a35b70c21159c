import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { cutAt } from './json-bytes.ts'
import { emptyBlock, maxNameLength, type RawBlock, type RawRecord } from './raw-record.ts'
import { type ReadOptions, type ReadSummary, readTurns, TurnReader } from './read-turns.ts'
import { maxTargetLength, targetKeys, targetOf } from './target.ts'
import type { Turn } from './turn.ts'
import { TurnMaker } from './turns-of-record.ts'

const preview = 40

describe('what is read is what JSON.parse would find', () => {
  test('in lines of any form, cut into chunks anywhere', () => {
    fc.assert(
      fc.property(fc.array(line(), { maxLength: 6 }), fc.array(fc.nat(), { maxLength: 8 }), (lines, cuts) => {
        const bytes = Buffer.from(`${lines.join('\n')}\n`)
        expect(read(bytes, cuts).turns.map(comparable)).toEqual(parsed(lines).map(comparable))
      }),
      { numRuns: 400 },
    )
  })

  test('at every place where a chunk can end', () => {
    const lines = fc.sample(line(), { numRuns: 4, seed: 7 })
    const bytes = Buffer.from(`${lines.join('\n')}\n`)
    const whole = read(bytes, []).turns
    for (let cut = 1; cut < bytes.length; cut++) expect(read(bytes, [cut]).turns).toEqual(whole)
  })

  test('also where long strings lose their tails on the way', () => {
    const long = fc.tuple(fc.string({ unit: 'binary', minLength: 1 }), fc.integer({ min: 1_000, max: 9_000 }))
    fc.assert(
      fc.property(long, fc.boolean(), fc.integer({ min: 50, max: 400 }), ([unit, times], isError, size) => {
        const text = JSON.stringify(unit.repeat(times))
        const result = `{"tool_use_id":"t1","type":"tool_result","content":${text},"is_error":${isError}}`
        const whole = `{"type":"user","toolUseResult":${text},"message":{"role":"user","content":[${result}]},"uuid":"u1"}`
        const bytes = Buffer.from(`${whole}\n{"type":"summary","summary":"after"}\n`)
        const cuts = Array.from({ length: Math.floor(bytes.length / size) }, (_, i) => (i + 1) * size)
        const [turn, next] = read(bytes, cuts, { maxLineBytes: 4_000 }).turns
        const [expected] = parsed([whole])
        expect(comparable(turn as Turn)).toEqual(comparable(expected as Turn))
        expect(turn?.textBytes).toBe(Buffer.byteLength(text) - 2)
        expect(next?.text).toBe('after')
      }),
      { numRuns: 60 },
    )
  })

  test('and what is no JSON neither throws nor touches the lines beside it', () => {
    const broken = fc
      .tuple(line(), fc.nat(), fc.nat(), fc.constantFrom('', '"', '\\', '{', '}', ']', '\u0000', 'x', ','))
      .map(([text, at, gone, put]) => {
        const from = at % (text.length + 1)
        return text.slice(0, from) + put + text.slice(from + (gone % 4))
      })
      .map((text) => text.replaceAll('\n', ' ').toWellFormed())
    fc.assert(
      fc.property(broken, fc.array(fc.nat(), { maxLength: 4 }), (text, cuts) => {
        const bytes = Buffer.from(`{"type":"summary","summary":"a"}\n${text}\n{"type":"summary","summary":"b"}\n`)
        const { turns, summary } = read(bytes, cuts)
        expect(summary.lines).toBe(3)
        expect(turns[0]?.text).toBe('a')
        expect(turns.at(-1)).toMatchObject({ text: 'b', line: 3, index: turns.length - 1 })
        if (text.trim() !== '') expect(turns.some((turn) => turn.line === 2)).toBe(true)
        if (isObject(text))
          expect(turns.filter((turn) => turn.line === 2).map(plain)).toEqual(parsed([text]).map(plain))
      }),
      { numRuns: 400 },
    )
  })
})

describe('every line has its turn', () => {
  test('unknown records and blocks are kept and counted', () => {
    const { turns, summary } = readText(
      '{"type":"telepathy","uuid":"a"}\n{"type":"assistant","message":{"content":[{"type":"dream","text":"x"}]}}\n{}\n',
    )
    expect(turns.map(({ kind, line }) => [kind, line])).toEqual([
      ['unknown', 1],
      ['unknown', 2],
      ['unknown', 3],
    ])
    expect(summary.unknownTypes).toEqual({ telepathy: 1, 'assistant/dream': 1, '(none)': 1 })
  })

  test('lines that are no object are kept as they are, blank ones only counted', () => {
    const { turns, summary } = readText('not json\n\n  \r\n[1]\n"text"\n{"type":"user"\n')
    expect(turns.map(({ kind, line, text }) => [kind, line, text])).toEqual([
      ['bad_line', 1, 'not json'],
      ['bad_line', 4, '[1]'],
      ['bad_line', 5, '"text"'],
      ['bad_line', 6, '{"type":"user"'],
    ])
    expect(summary).toMatchObject({ lines: 6, badLines: 4, endsInPartialLine: false })
  })

  test('a line that is still being written waits, one that only lacks its newline does not', () => {
    expect(readText('{"type":"summary","summary":"a"}\n{"type":"user","mess').summary).toMatchObject({
      turns: 1,
      badLines: 0,
      endsInPartialLine: true,
    })
    expect(readText('{"type":"summary","summary":"a"}').turns).toMatchObject([{ text: 'a' }])
  })

  test('a byte order mark and carriage returns do not matter', () => {
    const { turns } = readText('\ufeff{"type":"summary","summary":"a"}\r\n{"type":"summary","summary":"b"}\r\n')
    expect(turns.map(({ text }) => text)).toEqual(['a', 'b'])
  })

  test('an escape that JSON does not know costs the line nothing', () => {
    const { turns, summary } = readText(
      '{"type":"user","message":{"content":[{"type":"tool_result","tool_use_id":"t","content":"origin\\user@example.com"}]}}\n',
    )
    expect(turns).toMatchObject([{ kind: 'tool_result', toolUseId: 't', text: 'origin\\user@example.com' }])
    expect(summary.badLines).toBe(0)
  })

  test('equal inputs and results have equal hashes, others have not', () => {
    const call = (id: string, command: string) =>
      `{"type":"assistant","message":{"content":[{"type":"tool_use","id":"${id}","name":"Bash","input":{"command":"${command}"}}]}}\n`
    const { turns } = readText(call('1', 'ls') + call('2', 'ls') + call('3', 'ls -l'))
    const [a, b, c] = turns.map(({ contentHash }) => contentHash)
    expect(a).toBe(b)
    expect(a).not.toBe(c)
  })

  test('a growing file keeps the turns it had', () => {
    const lines = fc.sample(line(), { numRuns: 12, seed: 3 })
    const whole = readText(`${lines.join('\n')}\n`).turns
    for (let n = 0; n <= lines.length; n++) {
      const { turns } = readText(
        lines
          .slice(0, n)
          .map((text) => `${text}\n`)
          .join(''),
      )
      expect(turns).toEqual(whole.slice(0, turns.length))
    }
  })

  test('readTurns gives the same turns, and the summary at the end', async () => {
    const text = '{"type":"summary","summary":"a"}\n{"type":"summary","summary":"b"}\n'
    async function* chunks() {
      for (const byte of Buffer.from(text)) yield Buffer.from([byte])
    }
    const turns: Turn[] = []
    const iterator = readTurns(chunks())
    let next = await iterator.next()
    while (!next.done) {
      turns.push(next.value)
      next = await iterator.next()
    }
    expect(turns).toEqual(readText(text, {}).turns)
    expect(next.value).toMatchObject({ lines: 2, turns: 2, bytes: text.length })
  })
})

describe('hostile files', () => {
  test('a line of two hundred thousand brackets', () => {
    const depth = 200_000
    const { turns } = readText(`{"type":"progress","data":${'['.repeat(depth)}${']'.repeat(depth)},"uuid":"u"}\n`)
    expect(turns).toMatchObject([{ kind: 'progress', uuid: 'u' }])
  })

  test('a line of ten megabytes that is no text is cut and kept as bad, what follows is read', () => {
    const { turns, summary } = readText(`{"a":[${'1,'.repeat(5_000_000)}1]}\n{"type":"summary","summary":"after"}\n`)
    expect(turns.map(({ kind, text }) => [kind, text.slice(0, 9)])).toEqual([
      ['bad_line', '{"a":[1,1'],
      ['state', 'after'],
    ])
    expect(summary.lines).toBe(2)
  })
})

function read(
  bytes: Buffer,
  cuts: readonly number[],
  options: ReadOptions = {},
): { turns: Turn[]; summary: ReadSummary } {
  const turns: Turn[] = []
  const reader = new TurnReader((turn) => turns.push(turn), { previewCharacters: preview, ...options })
  const places = [...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length].sort((a, b) => a - b)
  let from = 0
  for (const place of places) {
    reader.write(bytes.subarray(from, place))
    from = place
  }
  return { turns, summary: reader.end() }
}

function readText(text: string, options?: ReadOptions): { turns: Turn[]; summary: ReadSummary } {
  return read(Buffer.from(text), [], options)
}

/** Bytes as the line writes them and hashes of them are no part of what JSON.parse finds. */
function comparable(turn: Turn): unknown {
  return { ...turn, textBytes: 0, contentHash: '' }
}

function plain(turn: Turn): unknown {
  return { ...turn, textBytes: 0, contentHash: '', index: 0, line: 0, toolName: '' }
}

function isObject(text: string): boolean {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value)
  } catch {
    return false
  }
}

/** Turns by way of JSON.parse. */
function parsed(lines: readonly string[]): Turn[] {
  const turns: Turn[] = []
  const maker = new TurnMaker()
  let index = 0
  for (const [i, text] of lines.entries()) {
    index = maker.turns(
      recordOf(JSON.parse(text) as Json),
      index,
      i + 1,
      (turn) => turns.push(turn),
      () => undefined,
    )
  }
  return turns
}

type Json = Readonly<Record<string, unknown>>

function recordOf(line: Json): RawRecord {
  const text = ['content', 'summary', 'aiTitle', 'customTitle', 'lastPrompt', 'error', 'mode', 'operation']
    .map((key) => (Object.hasOwn(line, key) ? line[key] : undefined))
    .find((value) => value !== undefined && value !== null)
  const detail = objectIn(line, 'data') ?? objectIn(line, 'attachment')
  const compact = objectIn(line, 'compactMetadata')
  const time = own(line, 'timestamp')
  const ms = typeof time === 'string' ? Date.parse(time) : Number.NaN
  const message = objectIn(line, 'message')
  return {
    type: name(line, 'type'),
    subtype: name(line, 'subtype'),
    uuid: name(line, 'uuid'),
    parentUuid: name(line, 'parentUuid'),
    sessionId: name(line, 'sessionId'),
    timeMs: Number.isNaN(ms) ? undefined : ms,
    cwd: name(line, 'cwd'),
    gitBranch: name(line, 'gitBranch'),
    version: name(line, 'version'),
    requestId: name(line, 'requestId'),
    agentId: name(line, 'agentId'),
    permissionMode: name(line, 'permissionMode'),
    attributionSkill: name(line, 'attributionSkill'),
    attributionMcpServer: name(line, 'attributionMcpServer'),
    isSidechain: own(line, 'isSidechain') === true,
    isMeta: own(line, 'isMeta') === true,
    isCompactSummary: own(line, 'isCompactSummary') === true,
    isApiErrorMessage: own(line, 'isApiErrorMessage') === true,
    isVisibleInTranscriptOnly: own(line, 'isVisibleInTranscriptOnly') === true,
    costUsd: number(line, 'costUSD'),
    apiErrorStatus: number(line, 'apiErrorStatus'),
    originKind: name(objectIn(line, 'origin'), 'kind'),
    text:
      text === undefined
        ? shown(own(detail, 'prompt'))
        : typeof text === 'string'
          ? shown(text)
          : cutAt(JSON.stringify(text), preview),
    textBytes: 0,
    compactTrigger: name(compact, 'trigger'),
    compactPreTokens: number(compact, 'preTokens'),
    detailType: name(detail, 'type'),
    hookEvent: name(detail, 'hookEvent'),
    message: message === undefined ? undefined : messageOf(message),
  }
}

function messageOf(message: Json): RawRecord['message'] {
  const usage = objectIn(message, 'usage')
  const count = (key: string): number => {
    const value = number(usage, key) ?? 0
    return value > 0 && value <= Number.MAX_SAFE_INTEGER ? Math.trunc(value) : 0
  }
  const content = own(message, 'content')
  return {
    role: name(message, 'role'),
    id: name(message, 'id'),
    model: name(message, 'model'),
    stopReason: name(message, 'stop_reason'),
    usage: usage && {
      inputTokens: count('input_tokens'),
      outputTokens: count('output_tokens'),
      cacheReadTokens: count('cache_read_input_tokens'),
      cacheCreationTokens: count('cache_creation_input_tokens'),
    },
    blocks:
      typeof content === 'string'
        ? [{ ...emptyBlock, type: 'text', text: shown(content) }]
        : Array.isArray(content)
          ? content.filter((block) => isJson(block)).map((block) => blockOf(block))
          : undefined,
  }
}

function blockOf(block: Json): RawBlock {
  const text = [own(block, 'text'), own(block, 'thinking'), own(block, 'content')].find(
    (value) => typeof value === 'string',
  )
  const content = own(block, 'content')
  const parts = Array.isArray(content) ? content : []
  const part = parts
    .filter((one) => isJson(one))
    .find((one) => typeof own(one, 'text') === 'string' && own(one, 'text') !== '')
  const input = objectIn(block, 'input')
  return {
    ...emptyBlock,
    type: name(block, 'type'),
    text: shown(text ?? (part && own(part, 'text'))),
    id: name(block, 'id'),
    name: name(block, 'name'),
    toolUseId: name(block, 'tool_use_id'),
    isError: own(block, 'is_error') === true,
    target:
      input === undefined
        ? ''
        : targetOf((key) => {
            const value = own(input, targetKeys[key] as string)
            return typeof value === 'string' ? cutAt(value, maxTargetLength) : ''
          }),
    skill: name(input, 'skill'),
  }
}

function isJson(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function own(of: Json | undefined, key: string): unknown {
  return of !== undefined && Object.hasOwn(of, key) ? of[key] : undefined
}

function objectIn(of: Json | undefined, key: string): Json | undefined {
  const value = own(of, key)
  return isJson(value) ? value : undefined
}

function name(of: Json | undefined, key: string): string {
  const value = own(of, key)
  return typeof value === 'string' ? cutAt(value, maxNameLength) : ''
}

function number(of: Json | undefined, key: string): number | undefined {
  const value = own(of, key)
  return typeof value === 'number' && Number.isFinite(value) ? value : undefined
}

function shown(value: unknown): string {
  return typeof value === 'string' ? cutAt(value, preview) : ''
}

/** A line of JSON as nobody writes it: keys in any order and twice, any spaces, any characters escaped. */
function line(): fc.Arbitrary<string> {
  return fc.tuple(record(), fc.infiniteStream(fc.nat({ max: 99 }))).map(([value, dice]) => written(value, dice))
}

type Member = readonly [string, unknown]
/** Members in order, so that a key can come twice. */
class Members {
  constructor(readonly list: readonly Member[]) {}
}

function written(value: unknown, dice: Iterator<number>): string {
  const roll = (): number => dice.next().value as number
  const space = (): string => (roll() < 85 ? '' : [' ', '\t', '\r', '  '][roll() % 4]) as string
  const text = (of: string): string =>
    `"${Array.from(
      JSON.stringify(of)
        .slice(1, -1)
        .match(/\\u....|\\.|[^\\]/gsu) ?? [],
      (unit) => {
        if (unit.startsWith('\\') || roll() < 92) return unit
        return Array.from(
          { length: unit.length },
          (_, i) => `\\u${unit.charCodeAt(i).toString(16).padStart(4, '0')}`,
        ).join('')
      },
    ).join('')}"`
  const write = (of: unknown): string => {
    if (typeof of === 'string') return text(of)
    if (Array.isArray(of)) return `[${space()}${of.map((one) => write(one) + space()).join(`,${space()}`)}]`
    if (of instanceof Members) {
      const members = of.list.map(([key, one]) => `${text(key)}${space()}:${space()}${write(one)}${space()}`)
      return `{${space()}${members.join(`,${space()}`)}}`
    }
    return JSON.stringify(of)
  }
  return space() + write(value) + space()
}

function record(): fc.Arbitrary<Members> {
  const word = fc.oneof(fc.string({ unit: 'binary', maxLength: 60 }), fc.string({ unit: 'grapheme', maxLength: 12 }))
  const said = fc.oneof(
    word,
    fc.constantFrom(
      '[Request interrupted by user]',
      '<command-name>/exit</command-name>',
      'Exit code 1\nno',
      '<tool_use_error>File does not exist.</tool_use_error>',
    ),
  )
  const scalar = fc.oneof(
    word,
    fc.double({ noDefaultInfinity: true, noNaN: true }),
    fc.integer(),
    fc.boolean(),
    fc.constant(null),
  )
  const anything = fc.oneof(
    { maxDepth: 3 },
    scalar,
    fc.array(scalar, { maxLength: 3 }),
    fc.array(fc.tuple(word, scalar), { maxLength: 3 }).map((list) => new Members(list)),
  )
  const members = (of: Readonly<Record<string, fc.Arbitrary<unknown>>>): fc.Arbitrary<Members> =>
    fc
      .array(
        fc.oneof(
          ...Object.entries(of).map(([key, value]) => fc.tuple(fc.constant(key), value)),
          fc.tuple(word, anything),
        ),
        {
          maxLength: 14,
        },
      )
      .map((list) => new Members(list))
  const or = (value: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> =>
    fc.oneof({ weight: 6, arbitrary: value }, { weight: 1, arbitrary: anything })
  const count = fc.oneof(
    fc.nat(),
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    fc.bigInt().map(Number),
    fc.integer(),
  )
  const flag = or(fc.boolean())
  const block = members({
    type: or(fc.constantFrom('text', 'thinking', 'tool_use', 'tool_result', 'image')),
    text: or(said),
    thinking: or(word),
    id: or(fc.constantFrom('t1', 't2')),
    tool_use_id: or(fc.constantFrom('t1', 't2')),
    name: or(fc.constantFrom('Bash', 'Edit', 'mcp__a__b')),
    is_error: flag,
    input: or(members({ command: or(word), file_path: or(word), pattern: or(word), path: or(word), skill: or(word) })),
    content: or(fc.oneof(said, fc.array(or(members({ type: or(word), text: or(word) })), { maxLength: 3 }))),
  })
  const message = members({
    role: or(word),
    id: or(word),
    model: or(word),
    stop_reason: or(word),
    usage: or(members({ input_tokens: or(count), output_tokens: or(count), cache_read_input_tokens: or(count) })),
    content: or(fc.oneof(said, fc.array(or(block), { maxLength: 3 }))),
  })
  return members({
    type: or(fc.constantFrom('user', 'assistant', 'system', 'progress', 'summary', 'mode')),
    subtype: or(fc.constantFrom('compact_boundary', 'api_error', 'local_command')),
    uuid: or(fc.uuid()),
    parentUuid: or(fc.uuid()),
    sessionId: or(word),
    timestamp: or(
      fc.oneof(
        fc.date({ noInvalidDate: true, min: new Date(0), max: new Date(4e12) }).map((date) => date.toISOString()),
        fc.constantFrom(
          '2026-02-30T00:00:00.000Z',
          '2026-01-01T24:00:00.000Z',
          '2026-01-01',
          '2026-01-01T10:00:00+02:00',
        ),
        word,
      ),
    ),
    cwd: or(word),
    version: or(word),
    isSidechain: flag,
    isMeta: flag,
    isCompactSummary: flag,
    isApiErrorMessage: flag,
    costUSD: or(count),
    apiErrorStatus: or(count),
    origin: or(members({ kind: or(word) })),
    summary: fc.oneof(word, fc.constant(null)),
    compactMetadata: or(members({ trigger: or(word), preTokens: or(count) })),
    data: or(members({ type: or(word), hookEvent: or(word), prompt: or(word), message: or(message) })),
    toolUseResult: or(message),
    message: or(message),
  })
}
