import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { lockDirectory } from './directory-lock.ts'

let directory: string
beforeEach(() => {
  directory = mkdtempSync(path.join(tmpdir(), 'agnes-lock-'))
})
afterEach(() => rmSync(directory, { recursive: true }))

test('a second holder is refused by name until the first lets go', async () => {
  const first = await lockDirectory(directory, 'spool')
  await expect(lockDirectory(directory, 'spool')).rejects.toThrow(
    `another process already uses the spool directory ${directory}`,
  )
  await first.release()
  const second = await lockDirectory(directory, 'spool')
  await second.release()
})

test('the lock of a process killed with SIGKILL is free at once', async () => {
  const module = path.resolve(import.meta.dirname, '../dist/index.js')
  const script = `const { lockDirectory } = await import(${JSON.stringify(module)})
    await lockDirectory(process.argv[1], 'spool'); console.log('held'); setInterval(() => {}, 1000)`
  const child = spawn(process.execPath, ['--input-type=module', '-e', script, directory], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await once(child.stdout, 'data')
  await expect(lockDirectory(directory, 'spool')).rejects.toThrow('already uses')
  child.kill('SIGKILL')
  await once(child, 'exit')
  const lock = await lockDirectory(directory, 'spool')
  await lock.release()
})
