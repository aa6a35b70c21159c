import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import {
  createFailureScan,
  evaluateFolder,
  type Finding,
  formatEvaluation,
  maxFindings,
  rules,
  type ToolDecision,
  TurnReader,
} from '@agnes/processors'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'

const fixtures = path.join(import.meta.dirname, '..', 'fixtures')
const folder = path.join(fixtures, 'transcripts')
const windowsFolder = path.join(fixtures, 'windows')
const transcripts = transcriptsIn(folder)
const windows = transcriptsIn(windowsFolder)
const clean = transcripts.filter(({ lines }) => findingsOf(lines).length === 0)

describe('labelled transcripts', () => {
  test('exactly what the labels say is found', async () => {
    const { disagreements, labelledFiles } = await evaluateFolder(folder, 0)
    expect(disagreements).toEqual([])
    expect(labelledFiles).toBe(transcripts.length)
  })

  test.each(rules.map(({ name }) => name))('%s has an example, a counter-example and a near miss', (name) => {
    const rulesIn = (kind: string): string[] => {
      const found = transcripts.filter(({ file }) => file.startsWith(`${name}.${kind}`))
      expect(found).not.toEqual([])
      return found.flatMap(({ lines }) => findingsOf(lines).map(({ rule }) => rule))
    }
    expect(rulesIn('positive')).toContain(name)
    expect(rulesIn('negative')).not.toContain(name)
    expect(rulesIn('near-miss')).not.toContain(name)
  })

  test('the evaluation lists what was missed and what was found beyond the labels', async () => {
    const other = mkdtempSync(path.join(tmpdir(), 'agnes-eval-'))
    try {
      const file = 'tool_error.mcp.positive.jsonl'
      writeFileSync(path.join(other, file), readFileSync(path.join(folder, file)))
      const labels = { file, findings: [{ line: 1, type: 'loop' }] }
      writeFileSync(path.join(other, 'labels.jsonl'), JSON.stringify(labels))
      const text = formatEvaluation(await evaluateFolder(other, 0))
      expect(text).toMatch(/tool_error\.mcp +0 +2 +0 +0\.000 +–/)
      expect(text).toContain(`missed: ${file}:1 loop`)
      expect(text).toContain(`not labelled: ${file}:7 tool_error.mcp "MCP error -32603: Not Found: project SHOP"`)
    } finally {
      rmSync(other, { recursive: true })
    }
  })
})

describe('labelled windows: loops, ends and clean sessions as real ones look', () => {
  test('loops and ends are told from what only looks like one', async () => {
    const { disagreements, labelledFiles, scores } = await evaluateFolder(windowsFolder, 0)
    expect(disagreements).toEqual([])
    expect(labelledFiles).toBe(windows.length)
    const found = Object.fromEntries(scores.map(({ name, right }) => [name, right]))
    for (const { name } of rules.filter((rule) => /^(?:loop|abrupt_end)\./.test(rule.name))) {
      expect(found[name], name).toBeGreaterThanOrEqual(3)
    }
  })

  test('a clean session has no finding but exits of a shell, which are information', () => {
    const cleanOnes = windows.filter(({ file }) => file.startsWith('clean.'))
    expect(cleanOnes.length).toBeGreaterThanOrEqual(7)
    const others = cleanOnes.flatMap(({ file, lines }) =>
      beyondShellExits(findingsOf(lines)).map((it) => `${file} ${it}`),
    )
    expect(others).toEqual([])
  })

  test('nor has any session in which each call does something else and the model has the last word', () => {
    fc.assert(
      fc.property(fc.array(cleanStep, { maxLength: 60 }), (steps) => {
        const lines = steps.flatMap((step, i) => step(`t${i}`))
        expect(beyondShellExits(findingsOf([prompt('Go on.'), ...lines, answer()]))).toEqual([])
      }),
      { numRuns: 300 },
    )
  })

  const cleanStep: fc.Arbitrary<(id: string) => string[]> = fc.oneof(
    fc
      .tuple(
        fc.constantFrom('Read', 'Edit', 'Write', 'Grep', 'Bash', 'mcp__crm__find', 'WebFetch', 'Task'),
        fc.string(),
      )
      .map(([name, said]) => (id: string) => [
        call(id, name, { file_path: `/work/${id}.ts`, command: `run ${id}` }),
        result(id, `${id} ${said} permission denied error [Request interrupted by user]`, false),
      ]),
    fc
      .tuple(fc.integer({ min: 1, max: 125 }), fc.constantFrom('', 'no matches', 'not ok'))
      .map(([code, said]) => (id: string) => [
        call(id, 'Bash', { command: `grep ${id} src` }),
        result(id, `Exit code ${code}\n${said}`, true),
        call(`${id}e`, 'Edit', { file_path: `/work/${id}.ts` }),
        result(`${id}e`, 'The file has been updated.', false),
        call(`${id}b`, 'Bash', { command: `run ${id}` }),
        result(`${id}b`, 'ok', false),
      ]),
    fc
      .constantFrom('BashOutput', 'TaskOutput')
      .map((name) => (id: string) => [
        call(id, name, { task_id: 'b1' }),
        result(id, '<status>running</status>', false),
      ]),
    fc.string().map((said) => () => [answer(), prompt(`no, stop. wrong. ${said}`)]),
    fc.constant((id: string) => [
      JSON.stringify({ type: 'summary', summary: 'x', leafUuid: id }),
      JSON.stringify({
        type: 'progress',
        isSidechain: false,
        sessionId: 's',
        uuid: id,
        data: { type: 'hook_progress' },
      }),
    ]),
  )

  function beyondShellExits(findings: readonly Finding[]): string[] {
    return findings
      .filter(({ severity, rule }) => severity !== 'info' || rule !== 'tool_error.shell_exit')
      .map(({ line, rule }) => `${line} ${rule}`)
  }
})

describe('a session that grows', () => {
  test('no prefix says what the whole takes back', () => {
    const takenBack: string[] = []
    for (const { file, lines } of [...transcripts, ...windows]) {
      const whole = new Map(findingsOf(lines).map((finding) => [finding.id, JSON.stringify(finding)]))
      for (let n = 1; n < lines.length; n++) {
        for (const finding of findingsOf(lines.slice(0, n))) {
          if (finding.type === 'abrupt_end' || whole.get(finding.id) === JSON.stringify(finding)) continue
          takenBack.push(`${file}:${n} ${finding.rule}`)
        }
      }
    }
    expect(takenBack).toEqual([])
  })

  test('ids stay the same wherever the lines stand and however often they come', () => {
    const lines = linesOf('user_rejection.call.positive.jsonl')
    const ids = findingsOf(lines).map(({ id }) => id)
    expect(findingsOf(['{"type":"summary","summary":"x"}', '', ...lines, ...lines]).map(({ id }) => id)).toEqual(ids)
    expect(new Set(ids).size).toBe(ids.length)
    expect(ids.every((id) => /^[0-9a-f]{32}$/.test(id))).toBe(true)
    // Stored ids must not change with the code.
    expect(findingsOf([call('t1', 'Bash', {}), result('t1', 'Exit code 1', true)])[0]?.id).toBe(
      '4f34fc70b960131299d2fde7f61a86e2',
    )
  })
})

describe('what is put into a clean transcript is found, and nothing else', () => {
  const places = clean.flatMap(({ file, lines }) =>
    lines.flatMap((line, at) => (line.includes('"type":"assistant"') && at > 0 ? [{ file, at, lines }] : [])),
  )

  test('a rejected call, before each answer', () => {
    expect(places.length).toBeGreaterThan(100)
    const said = `${rejection} To tell you how to proceed, the user said:\nnot like this`
    const records = [call('x1', 'Bash', { command: 'rm -rf dist' }), result('x1', said, true)]
    expect(places.filter((place) => !finds(place, records, ['user_rejection.rejected_with_reason']))).toEqual([])
  })

  test('three identical calls that fail, before each answer', () => {
    const records = ['x1', 'x2', 'x3'].flatMap((id) => [
      call(id, 'Bash', { command: 'make release' }),
      result(id, 'Exit code 2\nmake: *** no rule to make target', true),
    ])
    const failures = ['tool_error.shell_exit', 'tool_error.shell_exit', 'tool_error.shell_exit']
    expect(places.filter((place) => !finds(place, records, ['loop.same_call', ...failures]))).toEqual([])
  })

  test('a cut after each call, but for those that wait for a person', () => {
    const cuts = clean.flatMap(({ file, lines }) =>
      lines.flatMap((line, at) =>
        line.includes('"type":"tool_use"') && !/"name":"(?:AskUserQuestion|ExitPlanMode)"/.test(line)
          ? [{ file, lines: lines.slice(0, at + 1) }]
          : [],
      ),
    )
    expect(cuts.length).toBeGreaterThan(50)
    const wrong = cuts.filter(({ lines }) => names(findingsOf(lines)).join() !== 'abrupt_end.unanswered_call')
    expect(wrong.map(({ file, lines }) => `${file}:${lines.length}`)).toEqual([])
  })

  function finds({ at, lines }: (typeof places)[number], put: readonly string[], expected: readonly string[]): boolean {
    const isSidechain = (lines[at] as string).includes('"isSidechain":true')
    const records = put.map((line) => line.replace('"isSidechain":false', `"isSidechain":${isSidechain}`))
    const found = names(findingsOf([...lines.slice(0, at), ...records, ...lines.slice(at)]))
    return found.sort().join() === [...expected].sort().join()
  }
})

describe('the words of telemetry', () => {
  const said = (decision: ToolDecision, text: string): string[] => {
    const telemetry = new Map([['t1', decision]])
    return names(findingsOf([call('t1', 'Bash', { command: 'x' }), result('t1', text, true), answer()], telemetry))
  }

  test('tell a hook that did not answer from a person who said no', () => {
    expect(said({ decision: 'reject', source: 'hook' }, rejection)).toEqual(['permission_denied.hook'])
    expect(said({ decision: 'reject', source: 'user_reject' }, rejection)).toEqual(['user_rejection.rejected'])
  })

  test('tell whose reason it is that a call was refused for', () => {
    expect(said({ decision: 'reject', source: 'hook' }, 'not on a Friday')).toEqual(['permission_denied.hook'])
    expect(said({ decision: 'reject', source: 'config' }, 'not allowed here')).toEqual(['permission_denied.rule'])
    expect(said({ decision: 'accept', source: 'config' }, 'not allowed here')).toEqual(['tool_error.shell_exit'])
  })
})

describe('hostile sessions', () => {
  test('more failures than are kept are counted', () => {
    const scan = createFailureScan()
    const reader = new TurnReader((turn) => scan.turn(turn))
    for (let i = 0; i < maxFindings + 100; i++) {
      reader.write(Buffer.from(`${call(`t${i}`, 'Read', {})}\n${result(`t${i}`, 'EISDIR', true)}\n`))
    }
    reader.end()
    expect(scan.end()).toHaveLength(maxFindings)
    expect(scan.dropped).toBeGreaterThanOrEqual(100)
  })

  test('calls that are never answered take no memory that grows', () => {
    const scan = createFailureScan()
    const reader = new TurnReader((turn) => scan.turn(turn))
    const write = (from: number): void => {
      const lines = Array.from({ length: 1_000 }, (_, i) =>
        call(`toolu_${from + i}`, 'Bash', { command: `run ${from + i}` }),
      )
      reader.write(Buffer.from(`${lines.join('\n')}\n`))
    }
    for (let i = 0; i < 30; i++) write(i * 1_000)
    const before = process.memoryUsage().heapUsed
    for (let i = 30; i < 90; i++) write(i * 1_000)
    // 60,000 calls more: kept, they would take 60 MB.
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(30e6)
    reader.end()
    expect(names(scan.end())).toEqual(['abrupt_end.unanswered_call'])
  })

  test('excerpts stay short and whole', () => {
    const [finding] = findingsOf([call('t1', 'Read', {}), result('t1', `x${'😀'.repeat(400)}`, true), answer()])
    expect(finding?.excerpt).toBe(`x${'😀'.repeat(149)}`)
  })
})

const rejection =
  "The user doesn't want to proceed with this tool use. The tool use was rejected (eg. if it was a file edit, the new_string was NOT written to the file)."

function transcriptsIn(dir: string): { file: string; lines: string[] }[] {
  return readdirSync(dir)
    .filter((file) => file.endsWith('.jsonl') && file !== 'labels.jsonl')
    .map((file) => ({ file, lines: readFileSync(path.join(dir, file), 'utf8').trimEnd().split('\n') }))
}

function findingsOf(lines: readonly string[], telemetry?: ReadonlyMap<string, ToolDecision>): Finding[] {
  const scan = createFailureScan(telemetry === undefined ? {} : { telemetry })
  const reader = new TurnReader((turn) => scan.turn(turn))
  reader.write(Buffer.from(lines.map((line) => `${line}\n`).join('')))
  reader.end()
  return scan.end()
}

function names(findings: readonly Finding[]): string[] {
  return findings.map((finding) => `${finding.type}.${finding.class}`)
}

function linesOf(file: string): readonly string[] {
  return transcripts.find((transcript) => transcript.file === file)?.lines ?? []
}

function prompt(text: string): string {
  const message = { role: 'user', content: text }
  return JSON.stringify({ isSidechain: false, sessionId: 's', type: 'user', uuid: 'prompt', message })
}

function call(id: string, name: string, input: object): string {
  const message = { id: `msg_${id}`, role: 'assistant', content: [{ type: 'tool_use', id, name, input }] }
  return JSON.stringify({ isSidechain: false, sessionId: 's', type: 'assistant', uuid: `${id}-call`, message })
}

function result(id: string, content: string, isError: boolean): string {
  const message = { role: 'user', content: [{ tool_use_id: id, type: 'tool_result', content, is_error: isError }] }
  return JSON.stringify({ isSidechain: false, sessionId: 's', type: 'user', uuid: `${id}-result`, message })
}

function answer(): string {
  const message = { id: 'msg_answer', role: 'assistant', content: [{ type: 'text', text: 'Done.' }] }
  return JSON.stringify({ isSidechain: false, sessionId: 's', type: 'assistant', uuid: 'answer', message })
}
