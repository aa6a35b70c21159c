/** How long `agnes up` takes until everything serves: on an empty data directory, and on one that is there already. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { environment, main } from './instance.ts'
import { type Figure, quantile, report } from './report.ts'

const rounds = 5

export async function benchUp(): Promise<void> {
  const dataDir = mkdtempSync(path.join(tmpdir(), 'agnes-bench-'))
  try {
    const figures: Figure[] = [{ name: 'ready, new database', value: await readyMs(dataDir), unit: 'ms' }]
    const times: number[] = []
    for (let i = 0; i < rounds; i++) times.push(await readyMs(dataDir))
    figures.push({ name: `ready, existing database: median of ${rounds}`, value: quantile(times, 0.5), unit: 'ms' })
    figures.push({
      name: `ready, existing database: slowest of ${rounds}`,
      value: quantile(times, 1),
      unit: 'ms',
      goal: { atMost: 4_000 },
    })
    report('up', figures)
  } finally {
    rmSync(dataDir, { recursive: true })
  }
}

async function readyMs(dataDir: string): Promise<number> {
  const start = performance.now()
  const child: ChildProcess = spawn(process.execPath, [main, 'up', '--print-ports', 'json'], {
    env: environment(dataDir),
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  if (child.stdout === null) throw new Error('no output to read')
  await Promise.race([
    once(child.stdout, 'data'),
    once(child, 'exit').then(([code]) => {
      throw new Error(`agnes up ended with ${code} before it was ready`)
    }),
  ])
  const took = performance.now() - start
  child.kill('SIGINT')
  await once(child, 'exit')
  return took
}
