/**
 * Transcripts → turns → findings on one core, and the memory it takes. The transcripts are made up here, with the shares
 * of real ones: results in the client's own form are a third of the bytes, hooks' progress a tenth, a line is 2.2 kB.
 */
import { spawnSync } from 'node:child_process'
import { createFailureScan, TurnReader } from '@agnes/processors'
import { type Figure, report } from './report.ts'

const chunkBytes = 256 * 1024
const gigabyte = 1e9

export function benchScan(): void {
  const sessions = Array.from({ length: 24 }, (_, i) => session(i))
  const bytes = sessions.reduce((sum, { length }) => sum + length, 0)
  const read = (): void => {
    for (const transcript of sessions) feed(new TurnReader(() => undefined), transcript)
  }
  const scan = (): void => {
    for (const transcript of sessions) {
      const scanning = createFailureScan()
      feed(new TurnReader((turn) => scanning.turn(turn)), transcript)
      scanning.end()
    }
  }
  const parse = (): void => {
    for (const transcript of sessions) {
      let start = 0
      for (let end = transcript.indexOf(10); end >= 0; end = transcript.indexOf(10, start)) {
        JSON.parse(transcript.toString('utf8', start, end))
        start = end + 1
      }
    }
  }
  const figures: Figure[] = [
    { name: 'scan', value: megabytesPerSecond(scan, bytes), unit: 'MB/s', goal: { atLeast: 150 } },
    { name: 'turns only', value: megabytesPerSecond(read, bytes), unit: 'MB/s' },
    { name: 'JSON.parse of the same lines, for comparison', value: megabytesPerSecond(parse, bytes), unit: 'MB/s' },
    { name: 'memory for 1 GB of sessions', value: peakMemory('lines'), unit: 'MB', goal: { atMost: 200 } },
    { name: 'memory for one line of 1 GB', value: peakMemory('line'), unit: 'MB', goal: { atMost: 200 } },
  ]
  report('scan', figures)
}

/** The best of rounds of CPU time: other processes take from the cache, not from the clock. */
function megabytesPerSecond(run: () => void, bytes: number): number {
  let best = 0
  for (let round = 0; round < 12; round++) {
    const before = process.cpuUsage()
    run()
    const { user, system } = process.cpuUsage(before)
    best = Math.max(best, bytes / (user + system))
  }
  return best
}

/** Megabytes that a process has resident at most which scans a gigabyte. */
function peakMemory(what: 'lines' | 'line'): number {
  const { stdout, stderr, status } = spawnSync(process.execPath, [import.meta.filename, what], { encoding: 'utf8' })
  if (status !== 0) throw new Error(stderr)
  return Number(stdout) / 1_000
}

function scanGigabyte(what: string): void {
  const scanning = createFailureScan()
  const reader = new TurnReader((turn) => scanning.turn(turn))
  const piece = what === 'lines' ? session(0) : Buffer.alloc(chunkBytes, 'all work and no play \\n')
  if (what === 'line')
    reader.write(Buffer.from('{"type":"user","message":{"content":[{"type":"tool_result","content":"'))
  for (let sent = 0; sent < gigabyte; sent += piece.length) {
    for (let at = 0; at < piece.length; at += chunkBytes) reader.write(piece.subarray(at, at + chunkBytes))
  }
  if (what === 'line') reader.write(Buffer.from('","is_error":true}]}}\n'))
  reader.end()
  if (scanning.end().length === 0) throw new Error('the gigabyte was not read')
  console.log(process.resourceUsage().maxRSS)
}

function feed(reader: TurnReader, transcript: Buffer): void {
  for (let at = 0; at < transcript.length; at += chunkBytes) reader.write(transcript.subarray(at, at + chunkBytes))
  reader.end()
}

/** About 700 kB: the median of real sessions. */
export function session(seed: number): Buffer {
  const lines: object[] = []
  let n = 0
  const id = (prefix: string): string =>
    `${prefix}${seed.toString(16)}${(n++ * 2_654_435_761 + 0x1000_0000).toString(16)}-4c1d-9f0a`
  const code = (length: number): string =>
    Array.from(
      { length },
      (_, i) => `    ${i + n}→  const total${i} = prices.map((price) => "€" + price * ${n % 97})`,
    ).join('\n')
  let parent = id('u')
  const envelope = (type: string, more: object): void => {
    const uuid = id('u')
    lines.push({
      ...{
        parentUuid: parent,
        isSidechain: false,
        userType: 'external',
        cwd: '/home/ann/work/shop',
        sessionId: `session-${seed}`,
      },
      ...{ version: '2.1.63', gitBranch: 'feature/sort-prices', slug: 'quiet-sorting-river', type, ...more },
      ...{ uuid, timestamp: new Date(1_767_000_000_000 + n * 700).toISOString() },
    })
    parent = uuid
  }
  const usage = {
    ...{ input_tokens: 3, cache_creation_input_tokens: 412, cache_read_input_tokens: 48_213, output_tokens: 312 },
    ...{ cache_creation: { ephemeral_5m_input_tokens: 412, ephemeral_1h_input_tokens: 0 }, service_tier: 'standard' },
  }
  const answer = (block: object): void =>
    envelope('assistant', {
      message: {
        model: 'claude-opus-4-5',
        id: id('msg_'),
        type: 'message',
        role: 'assistant',
        content: [block],
        stop_reason: null,
        usage,
      },
      requestId: id('req_'),
    })
  for (let turn = 0; turn < 24; turn++) {
    envelope('user', { message: { role: 'user', content: `Sort the list number ${turn}, please.\n${code(3)}` } })
    answer({ type: 'thinking', thinking: code(10), signature: 'EqQBCkYIBxgCKkD0'.repeat(40) })
    for (const name of ['Read', 'Bash', 'Edit']) {
      const call = id('toolu_')
      const failed = name === 'Bash' && turn % 8 === 0
      const text = failed ? `Exit code 1\n${code(24)}` : code(34)
      const input =
        name === 'Bash' ? { command: `npm test -- ${turn}` } : { file_path: `/home/ann/work/shop/src/${turn}.ts` }
      answer({
        type: 'tool_use',
        id: call,
        name,
        input: name === 'Edit' ? { ...input, old_string: code(14), new_string: code(14) } : input,
      })
      for (const hookEvent of ['PreToolUse', 'PostToolUse']) {
        envelope('progress', { data: { type: 'hook_progress', hookEvent, command: code(6) }, toolUseID: call })
      }
      const result = { tool_use_id: call, type: 'tool_result', content: text, is_error: failed }
      const toolUseResult = {
        type: 'text',
        file: { filePath: 'src/list.ts', content: text, numLines: 14 },
        structuredPatch: [{ lines: [code(14)] }],
      }
      envelope('user', { message: { role: 'user', content: [result] }, toolUseResult })
    }
    answer({ type: 'text', text: code(10) })
  }
  return Buffer.from(lines.map((line) => `${JSON.stringify(line)}\n`).join(''))
}

const asked = process.argv[2]
if (process.argv[1] === import.meta.filename && asked !== undefined) scanGigabyte(asked)
