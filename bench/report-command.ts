/** What somebody who is stuck waits for: `agnes report` up to its preview, with a session of 50 MB. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { appendFileSync, mkdirSync, mkdtempSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { type Figure, quantile, report } from './report.ts'

const sessionBytes = 50 * 1024 * 1024
const rounds = 15
const command = path.join(import.meta.dirname, '..', '..', 'cli', 'bin', 'agnes.js')

export async function benchReportCommand(): Promise<void> {
  const home = realpathSync(mkdtempSync(path.join(tmpdir(), 'agnes-bench-')))
  try {
    writeSession(home)
    const env = { PATH: process.env.PATH ?? '', HOME: home, AGNES_DATA_DIR: path.join(home, 'data') }
    const untilOutput = async (args: readonly string[]): Promise<number> => {
      const start = performance.now()
      const child = spawn(process.execPath, args, { cwd: home, env, stdio: ['ignore', 'pipe', 'ignore'] })
      await once(child.stdout, 'data')
      const tookMs = performance.now() - start
      child.stdout.resume()
      const [code] = (await once(child, 'close')) as [number | null]
      if (code !== 0) throw new Error(`${args.join(' ')} ended with ${code}`)
      return tookMs
    }
    const empty: number[] = []
    const previews: number[] = []
    for (let i = 0; i < rounds; i++) {
      // A process of Node's that does nothing, to tell how fast the machine is right now.
      empty.push(await untilOutput(['-e', 'console.log(1)']))
      previews.push(await untilOutput([command, 'report', '--message', 'stuck', '--preview']))
    }
    const figures: Figure[] = [
      { name: 'node that does nothing: p50', value: quantile(empty, 0.5), unit: 'ms' },
      { name: 'report to its preview, 50 MB of session: p50', value: quantile(previews, 0.5), unit: 'ms' },
      {
        name: 'report to its preview, 50 MB of session: p95',
        value: quantile(previews, 0.95),
        unit: 'ms',
        goal: { atMost: 400 },
      },
    ]
    report('report', figures)
  } finally {
    rmSync(home, { recursive: true, force: true })
  }
}

/** Where Claude Code would keep it for that directory. */
function writeSession(home: string): void {
  const project = path.join(home, '.claude/projects', home.replace(/[^A-Za-z0-9]/g, '-'))
  mkdirSync(project, { recursive: true })
  const file = path.join(project, 'session.jsonl')
  const output = 'one line of what the tool said\n'.repeat(100)
  for (let bytes = 0, i = 0; bytes < sessionBytes; ) {
    let chunk = ''
    for (; chunk.length < 1024 * 1024; i++) {
      const content = [{ type: 'tool_result', tool_use_id: `t${i}`, is_error: true, content: `Error ${i}\n${output}` }]
      chunk += `${JSON.stringify({ type: 'user', sessionId: 's', uuid: `u${i}`, message: { content } })}\n`
    }
    appendFileSync(file, chunk)
    bytes += chunk.length
  }
}
