/** The skill for Claude says nothing of `agnes report` that is not so, and leaves the yes to the user. */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { expect, test } from 'vitest'
import { createProgram } from '../program.ts'

const plugin = path.join(import.meta.dirname, '../../../deploy/claude/agnes-report')
const skill = readFileSync(path.join(plugin, 'skills/agnes-report/SKILL.md'), 'utf8')
const [, front = '', body = ''] = /^---\n([\s\S]*?)\n---\n([\s\S]*)$/.exec(skill) ?? []

test('its manifest and front matter are what Claude Code reads', () => {
  const manifest = JSON.parse(readFileSync(path.join(plugin, '.claude-plugin/plugin.json'), 'utf8'))
  expect(manifest).toMatchObject({ name: 'agnes-report', skills: './skills/', version: expect.any(String) })
  const name = /^name: (.+)$/m.exec(front)?.[1]
  const description = /^description: (.+)$/m.exec(front)?.[1] ?? ''
  expect(name).toBe('agnes-report')
  expect(description.length).toBeGreaterThan(50)
  expect(description.length).toBeLessThanOrEqual(1024)
})

test('every option it names is one of the command', () => {
  const report = createProgram().commands.find((command) => command.name() === 'report')
  const options = report?.options.map(({ long }) => long) ?? []
  const named = [...new Set(body.match(/--[a-z-]+/g))]
  expect(named).toEqual(expect.arrayContaining(['--preview', '--send', '--no-session', '--resend']))
  expect(named.filter((option) => !options.includes(option))).toEqual([])
})

test('what it runs without asking sends nothing, and no example of it skips the question', () => {
  const allowed = /^allowed-tools: (.+)$/m.exec(front)?.[1]?.split(', ') ?? []
  expect(allowed.length).toBeGreaterThan(0)
  for (const tool of allowed) expect(tool).toContain('report --preview')
  for (const [, example] of body.matchAll(/```sh\n([\s\S]*?)```/g)) expect(example).not.toMatch(/--yes|-y\b/)
})
