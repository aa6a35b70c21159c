import { chownSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { createProgram } from '../program.ts'

let directory: string

beforeEach(() => {
  directory = mkdtempSync(path.join(tmpdir(), 'agnes-grafana-'))
})
afterEach(() => {
  vi.restoreAllMocks()
  rmSync(directory, { recursive: true })
})

interface Done {
  readonly written: readonly string[]
  readonly removed: readonly string[]
  readonly unchanged: number
}

async function provision(...flags: readonly string[]): Promise<Done> {
  const write = vi.spyOn(process.stdout, 'write').mockReturnValue(true)
  const url = flags.includes('--datasource-url') ? [] : ['--datasource-url', 'http://grafana@127.0.0.1:8123/agnes']
  await createProgram().parseAsync([
    'node',
    'agnes',
    'grafana',
    'provision',
    '--dir',
    directory,
    '--json',
    ...url,
    ...flags,
  ])
  const said = String(write.mock.calls.at(-1)?.[0])
  write.mockRestore()
  return JSON.parse(said) as Done
}

const read = (...names: readonly string[]): string => readFileSync(path.join(directory, ...names), 'utf8')

test('it writes data source, dashboards and rules; once more it changes nothing', async () => {
  const first = await provision()
  expect(first.written).toEqual(
    expect.arrayContaining([
      'datasources/agnes.yaml',
      'dashboards/agnes.yaml',
      'dashboards/agnes/home.json',
      'alerting/agnes-rules.yaml',
    ]),
  )
  expect(read('dashboards', 'agnes.yaml')).toContain(`path: ${directory}/dashboards/agnes\n`)
  expect(await provision()).toEqual({ directory, written: [], removed: [], unchanged: first.written.length })
})

test('what somebody changed is put right, a dashboard that is gone is removed, files of others stay', async () => {
  await provision()
  writeFileSync(path.join(directory, 'dashboards', 'agnes', 'home.json'), '{}')
  writeFileSync(path.join(directory, 'dashboards', 'agnes', 'former.json'), '{}')
  writeFileSync(path.join(directory, 'dashboards', 'theirs.json'), '{}')
  const again = await provision()
  expect([again.written, again.removed]).toEqual([['dashboards/agnes/home.json'], ['former.json']])
  expect(readdirSync(path.join(directory, 'dashboards')).sort()).toEqual(['agnes', 'agnes.yaml', 'theirs.json'])
})

test("an organisation's own policies are left alone unless asked, and then rules name their contact point", async () => {
  await provision()
  expect(readdirSync(path.join(directory, 'alerting'))).toEqual(['agnes-rules.yaml'])
  await provision('--telegram', '--webhook')
  expect(readdirSync(path.join(directory, 'alerting')).sort()).toEqual([
    'agnes-contact-points.yaml',
    'agnes-rules.yaml',
    'agnes-templates.yaml',
  ])
  expect(read('alerting', 'agnes-rules.yaml')).toMatch(/notification_settings:\n\s+receiver: Agnes\n/)
  await provision('--telegram', '--policies')
  expect(read('alerting', 'agnes-policies.yaml')).toContain('receiver: Agnes')
  expect(read('alerting', 'agnes-rules.yaml')).not.toContain('notification_settings')
  expect(read('alerting', 'agnes-contact-points.yaml')).not.toContain('webhook')
})

test('a password is not for everybody to read, and not taken for a variable of the environment', async () => {
  await provision('--datasource-url', 'https://reader:pa%24%24w@db.example.org/agnes')
  const text = read('datasources', 'agnes.yaml')
  expect(text).toMatch(/password: pa\$\$\$\$w\n/)
  expect(text).toMatch(/host: db\.example\.org\n\s+port: 8443\n\s+secure: true\n\s+username: reader\n/)
  expect(statSync(path.join(directory, 'datasources', 'agnes.yaml')).mode & 0o007).toBe(0)
})

test.runIf(process.getuid?.() === 0)(
  'run by root, what it writes can be read by the group that owns the directory: that of Grafana',
  async () => {
    chownSync(directory, 0, 65_534)
    // As administrators of hardened machines have it.
    const before = process.umask(0o077)
    try {
      await provision('--datasource-url', 'https://reader:secret@db.example.org/agnes')
    } finally {
      process.umask(before)
    }
    for (const name of ['datasources', 'datasources/agnes.yaml', 'dashboards/agnes', 'dashboards/agnes/home.json']) {
      const { gid, mode } = statSync(path.join(directory, name))
      expect({ name, gid, read: mode & 0o040 }).toEqual({ name, gid: 65_534, read: 0o040 })
    }
  },
)

test('tenants, budget and URLs stand where they belong', async () => {
  await provision(
    ...[
      '--tenant',
      'acme',
      '--tenant',
      'beta',
      '--daily-budget-usd',
      '12.5',
      '--inbox-url',
      'https://agnes.example.org/',
    ],
    ...['--runbooks-url', 'https://docs.example.org/runbooks'],
  )
  const rules = read('alerting', 'agnes-rules.yaml')
  expect(rules).toContain("tenant = 'acme'")
  expect(rules).toContain("tenant = 'beta'")
  expect(rules).toMatch(/params:\n\s+- 12\.5\n/)
  expect(rules).toContain('runbook_url: https://docs.example.org/runbooks/disk.md')
  expect(read('dashboards', 'agnes', 'timeline.json')).toContain('"query": "https://agnes.example.org"')
})

test.each([
  [['--datasource-url', 'db.example.org:9000'], /not one of ClickHouse over HTTP/],
  [['--datasource-url', 'clickhouse://db.example.org'], /not one of ClickHouse over HTTP/],
])('%j is refused in one line', async (flags, message) => {
  await expect(provision(...flags)).rejects.toThrow(message)
  expect(readdirSync(directory)).toEqual([])
})
