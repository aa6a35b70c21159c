/** Keys as an operator handles them: the admin key of the first start, then create, list, rotate and revoke. */
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { command, type Ran, type RunningAgnes, run, startAgnes } from '../support/agnes.ts'
import { copyDatabase } from '../support/database.ts'
import { invokeHere } from '../support/invoke.ts'
import { freePort } from '../support/processes.ts'

const dataDir = mkdtempSync(path.join(tmpdir(), 'agnes-e2e-keys-'))
const adminKey = path.join(dataDir, 'admin.key')
const keyPattern = /^agn_([A-Za-z0-9]{8})_([A-Za-z0-9]{32,})\n$/
let instance: RunningAgnes

beforeAll(async () => {
  await copyDatabase(path.join(dataDir, 'clickhouse'))
  instance = await startAgnes(dataDir)
})
afterAll(async () => {
  await instance.interrupt()
  rmSync(dataDir, { recursive: true })
})

/** What a command of the instance does, without a process for it: one each of create, revoke and rotate has its own. */
const agnes = (...args: string[]): Promise<Ran> => invokeHere(args, { env: { AGNES_DATA_DIR: dataDir } })

let events = 0
/** The status of an event that is sent with this key. */
async function sendWith(key: string): Promise<number> {
  const body = {
    resourceLogs: [{ scopeLogs: [{ logRecords: [{ eventName: 'keys.test', body: { stringValue: `${++events}` } }] }] }],
  }
  const headers = { 'Content-Type': 'application/json', Authorization: `Bearer ${key}` }
  return (await fetch(`${instance.otlpUrl}/v1/logs`, { method: 'POST', headers, body: JSON.stringify(body) })).status
}

async function within5s(key: string, status: number): Promise<void> {
  const giveUpAt = performance.now() + 5_000
  while ((await sendWith(key)) !== status) {
    if (performance.now() > giveUpAt) throw new Error(`not ${status} within 5 s`)
    await pause(50)
  }
}

interface Created {
  readonly text: string
  readonly id: string
  readonly secret: string
}

async function created(by: (...args: string[]) => Promise<Ran>, ...args: string[]): Promise<Created> {
  const { code, stdout, stderr } = await by('keys', 'create', ...args)
  expect({ code, stdout }).toEqual({ code: 0, stdout: expect.stringMatching(keyPattern) })
  const [, id = '', secret = ''] = keyPattern.exec(stdout) ?? []
  expect(stderr).toContain(`key ${id} (`)
  expect(stderr).not.toContain(secret)
  return { text: stdout.trim(), id, secret }
}

async function sql(query: string): Promise<string> {
  const { origin } = new URL(instance.clickhouseUrl)
  return (await fetch(`${origin}/?database=agnes`, { method: 'POST', body: query })).text()
}

interface KeyEvent {
  readonly params: string
  readonly paramsBefore: string
}

/** Until there is one: a look at the table costs a tenth of one at a view. */
async function stored(where: string): Promise<void> {
  for (const giveUpAt = performance.now() + 10_000; performance.now() < giveUpAt; await pause(100)) {
    if ((await sql(`SELECT count() > 0 FROM otel_logs WHERE ${where}`)) === '1\n') return
  }
  throw new Error(`not within ten seconds: ${where}`)
}

async function auditOf(action: string, id: string): Promise<KeyEvent> {
  await stored(`TenantId = 'default' AND Action = '${action}' AND Resource = 'key:${id}'`)
  const event = await sql(`SELECT params, params_before AS paramsBefore FROM audit_log
    WHERE tenant = 'default' AND action = '${action}' AND resource = 'key:${id}' FORMAT JSONEachRow`)
  return JSON.parse(event.split('\n')[0] ?? '') as KeyEvent
}

// That the next start keeps it: main-job.test.ts.
test('the first start leaves an admin key for its owner only, which works', async () => {
  expect(statSync(adminKey).mode & 0o777).toBe(0o600)
  const text = readFileSync(adminKey, 'utf8')
  expect(text).toMatch(keyPattern)
  await within5s(text.trim(), 200)
  expect(JSON.parse((await auditOf('keys.create', text.split('_')[1] ?? '')).params)).toMatchObject({
    scopes: ['admin'],
  })
})

test('a key is created, works within five seconds for its tenant, and is revoked within five', async () => {
  const { text, id, secret } = await created(
    instance.agnes,
    '--scope',
    'ingest',
    '--tenant',
    'acme',
    '--note',
    'orders service',
  )
  await within5s(text, 200)
  await stored("TenantId = 'acme' AND EventName = 'keys.test'")
  const activity = await agnes('activity', '--json', '--tenant', 'acme', '--action', 'keys.test')
  expect(JSON.parse(activity.stdout)).toHaveLength(1)
  expect((await agnes('health', '--json', '--tenant', 'acme')).stdout).toContain('"tenant": "acme"')

  const list = await agnes('keys', 'list')
  expect(list.stdout).toMatch(new RegExp(`${id}  …${secret.slice(-4)}  +acme +ingest +active .* orders service`))
  expect(list.stdout).not.toContain(secret.slice(0, 8))
  const event = await auditOf('keys.create', id)
  expect(JSON.parse(event.params)).toMatchObject({ id, tenant: 'acme', scopes: ['ingest'], note: 'orders service' })
  expect(JSON.stringify(event)).not.toContain(secret)

  // Pasted whole, it is still only its id that counts.
  expect(await instance.agnes('keys', 'revoke', text)).toMatchObject({ code: 0, stderr: expect.stringContaining(id) })
  await within5s(text, 401)
  const revoked = await auditOf('keys.revoke', id)
  expect(JSON.parse(revoked.params)).toHaveProperty('revokedAt')
  expect(JSON.parse(revoked.paramsBefore)).not.toHaveProperty('revokedAt')
  const again = await agnes('keys', 'revoke', id)
  expect(again).toMatchObject({ code: 0, stderr: expect.stringContaining('was revoked before') })
  expect((await agnes('keys', 'list')).stdout).not.toContain(id)
  const all = JSON.parse((await agnes('keys', 'list', '--all', '--json')).stdout)
  expect(all).toContainEqual(expect.objectContaining({ id, status: 'revoked' }))
  expect(JSON.stringify(all)).not.toContain(secret)
})

test('a rotation gives a new secret; the old one works until its grace is over', async () => {
  const { text, id } = await created(agnes, '--scope', 'ingest', '--expires', '30d')
  const rotated = await instance.agnes('keys', 'rotate', id, '--json')
  const { key } = JSON.parse(rotated.stdout) as { key: string }
  expect(rotated.stderr).toMatch(/the old secret is valid until/)
  await within5s(key, 200)
  expect(await sendWith(text)).toBe(200)
  const { stdout: last } = await agnes('keys', 'rotate', id, '--grace', '0s')
  await within5s(key, 401)
  await within5s(text, 401)
  await within5s(last.trim(), 200)
  expect(JSON.parse((await auditOf('keys.rotate', id)).paramsBefore)).toMatchObject({ id, scopes: ['ingest'] })
})

test('when the admin key is rotated its file follows', async () => {
  const [, id = ''] = readFileSync(adminKey, 'utf8').split('_')
  const { stdout } = await agnes('keys', 'rotate', id)
  expect(readFileSync(adminKey, 'utf8')).toBe(stdout)
  expect(statSync(adminKey).mode & 0o777).toBe(0o600)
})

test('doctor warns of a key that ends soon, and of a key file that others can read', async () => {
  const { id } = await created(agnes, '--scope', 'read', '--expires', '2d', '--note', 'dashboard')
  chmodSync(adminKey, 0o644)
  const { stdout, code } = await agnes('doctor', '--json')
  chmodSync(adminKey, 0o600)
  const { findings } = JSON.parse(stdout) as { findings: { check: string; status: string; detail: string }[] }
  expect(code).toBe(1)
  expect(findings).toContainEqual(expect.objectContaining({ check: 'admin key', status: 'problem' }))
  const keys = findings.find(({ check }) => check === 'keys')
  expect(keys).toMatchObject({ status: 'warning', detail: expect.stringContaining(`${id} (dashboard)`) })
})

test('a change counts though no gateway takes its audit event, and that is said', async () => {
  const env = {
    AGNES_DATA_DIR: path.join(dataDir, 'elsewhere'),
    AGNES_OTLP_PORT: `${await freePort()}`,
    CLICKHOUSE_URL: instance.clickhouseUrl,
  }
  const { code, stdout, stderr } = await invokeHere(['keys', 'create', '--scope', 'ingest'], { env })
  expect({ code, stdout }).toEqual({ code: 0, stdout: expect.stringMatching(keyPattern) })
  expect(stderr).toContain('not in the audit trail')
  await within5s(stdout.trim(), 200)
})

test('a shell that is set up to send with a key of its own lends it to no command', async () => {
  const { stdout, stderr, code } = await run(process.execPath, [command, 'keys', 'create', '--scope', 'ingest'], {
    AGNES_DATA_DIR: dataDir,
    OTEL_EXPORTER_OTLP_HEADERS: 'Authorization=Bearer of-something-else',
  })
  expect(code).toBe(0)
  expect(stderr).not.toContain('audit trail')
  expect((await auditOf('keys.create', stdout.split('_')[1] ?? '')).params).toContain('ingest')
})

test('a key that is not there cannot be rotated', async () => {
  const { code, stderr } = await agnes('keys', 'rotate', 'nobody00')
  expect({ code, stderr }).toEqual({
    code: 1,
    stderr: 'agnes: there is no key nobody00\n  hint: "agnes keys list" shows the ids\n',
  })
})

test('a gateway beyond loopback for which there is no key to send with does not start', async () => {
  const env = {
    AGNES_DATA_DIR: path.join(dataDir, 'far'),
    AGNES_HOST: '0.0.0.0',
    AGNES_CLICKHOUSE_PORT: `${await freePort()}`,
  }
  const { code, stderr } = await run(process.execPath, [command, 'gateway'], {
    ...env,
    AGNES_KEYS: `r:read:${'r'.repeat(32)}`,
  })
  expect(code).toBe(2)
  expect(stderr).toMatch(
    /AGNES_HOST=0\.0\.0\.0 opens the gateway to the network, and there is no key with scope ingest \(.*cannot be read: .*\)\n {2}hint: set AGNES_KEYS/,
  )
})
