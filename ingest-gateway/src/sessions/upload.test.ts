/** Transcripts over HTTP, as a client and an administrator see them: what is answered, and what is stored afterwards. */
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startFaultProxy } from '../../../tests/support/fault-proxy.ts'
import { openConnection, requestBytes, send } from '../../../tests/support/raw-http.ts'
import {
  type SessionGateway,
  type SessionStand,
  startSessionStand,
  transcript,
} from '../../../tests/support/sessions.ts'

let stand: SessionStand
let gateway: SessionGateway
beforeAll(async () => {
  stand = await startSessionStand()
  gateway = await stand.gateway()
})
afterAll(() => stand.stop())

let sessions = 0
const newFile = (): string => `session-${++sessions}`

interface Answer {
  readonly status: number
  readonly headers: Headers
  // biome-ignore lint/suspicious/noExplicitAny: tests look at what they expect
  readonly json: any
}

async function call(
  method: string,
  file: string,
  body?: string | Buffer,
  headers: Record<string, string> = {},
  { user = 'ann', url = gateway.url } = {},
): Promise<Answer> {
  const answer = await fetch(`${url}/v1/sessions/${user}/${file}.jsonl`, {
    method,
    headers: { 'Content-Type': 'application/x-ndjson', ...headers },
    ...(body === undefined ? {} : { body: new Uint8Array(Buffer.from(body)) }),
  })
  const text = await answer.text()
  return { status: answer.status, headers: answer.headers, json: text === '' ? undefined : JSON.parse(text) }
}
const post = (file: string, body: string | Buffer, headers = {}, where = {}) => call('POST', file, body, headers, where)
const ofAnn = (file: string, tenant = 'default') => stand.stored(tenant, 'ann', file)

/** As the documentation tells clients to compute it. */
function prefixHash(text: string): string {
  let hash = Buffer.alloc(32)
  for (const line of text.replace(/\n$/, '').split('\n')) {
    hash = createHash('sha256').update(hash).update(line).digest()
  }
  return hash.toString('hex')
}
const resumeAt = (text: string) => ({
  'Upload-Offset': String(Buffer.byteLength(text)),
  'Agnes-Prefix-Hash': prefixHash(text),
})

test('P24 the thread that answers has time for others while a long line is redacted', async () => {
  const file = newFile()
  // Each of these could be a card's number until it is looked at.
  const line = JSON.stringify({ text: `password=hunter2-hunter2 ${'4111 1111 1111 1112 '.repeat(100_000)}` })
  const before = performance.eventLoopUtilization()
  expect(await post(file, `${line}\n`)).toMatchObject({ status: 200, json: { lines: 1, redactions: 1 } })
  const { utilization } = performance.eventLoopUtilization(before)
  expect((await ofAnn(file)).main).toContain('password=[redacted password x')
  // Redacted on this thread, it would be busy for most of the time.
  expect(utilization).toBeLessThan(0.5)
})

describe('a session that grows', () => {
  test('is one version, told by what is new, whether it comes whole or only the rest of it', async () => {
    const file = newFile()
    expect((await call('HEAD', file)).status).toBe(404)
    const first = await post(file, transcript(10))
    expect(first).toMatchObject({
      status: 200,
      json: { user: 'ann', file, version: 'main', outcome: 'created', lines: 10, added: 10, unfinishedBytes: 0 },
    })
    expect(await post(file, transcript(25))).toMatchObject({ json: { outcome: 'grown', lines: 25, added: 15 } })

    const head = await call('HEAD', file)
    expect(head.headers.get('upload-offset')).toBe(String(Buffer.byteLength(transcript(25))))
    expect(await post(file, transcript(15, 25), resumeAt(transcript(25)))).toMatchObject({
      status: 200,
      json: { version: 'main', outcome: 'grown', lines: 40, bytes: Buffer.byteLength(transcript(40)), added: 15 },
    })
    expect(await ofAnn(file)).toEqual({ main: transcript(40) })
  })

  test('sent again, or shorter, changes nothing', async () => {
    const file = newFile()
    await post(file, transcript(30))
    const before = await rows(file)
    for (const [lines, headers] of [
      [30, {}],
      [7, {}],
      [0, resumeAt(transcript(30))],
    ] as const) {
      expect(await post(file, transcript(lines), headers)).toMatchObject({
        status: 200,
        json: { version: 'main', outcome: 'unchanged', added: 0 },
      })
    }
    expect(await rows(file)).toEqual(before)
    expect(await ofAnn(file)).toEqual({ main: transcript(30) })
  })

  test('in eight small steps has as many rows as lines', async () => {
    const file = newFile()
    for (let lines = 1; lines <= 8; lines++) {
      await post(file, transcript(1, lines - 1), lines === 1 ? {} : resumeAt(transcript(lines - 1)))
    }
    expect(await ofAnn(file)).toEqual({ main: transcript(8) })
    expect((await rows(file)).lines).toBe('8')
  })

  test('while its last line is being written keeps what is whole, and takes the line when it is', async () => {
    const file = newFile()
    const whole = transcript(5)
    const cut = transcript(6).slice(0, -20)
    expect(await post(file, cut)).toMatchObject({
      json: {
        lines: 5,
        bytes: Buffer.byteLength(whole),
        unfinishedBytes: Buffer.byteLength(cut) - Buffer.byteLength(whole),
      },
    })
    expect(await ofAnn(file)).toEqual({ main: whole })
    // Without a line break, but nothing of it can be missing.
    expect(await post(file, transcript(6).trimEnd())).toMatchObject({
      json: { lines: 6, unfinishedBytes: 0, added: 1 },
    })
    expect(await post(file, transcript(6))).toMatchObject({ json: { outcome: 'unchanged', lines: 6 } })
    expect(await post(file, transcript(8))).toMatchObject({ json: { outcome: 'grown', lines: 8, added: 2 } })
    expect(await ofAnn(file)).toEqual({ main: transcript(8) })
  })
})

/** How much lies in the tables, equal rows once. */
async function rows(file: string) {
  const result = await stand.engine.client.query({
    query: `SELECT (SELECT count() FROM session_lines FINAL WHERE session_file = {file:String}) AS lines,
      (SELECT groupArray(tuple(*)) FROM session_files FINAL WHERE session_file = {file:String}) AS files`,
    query_params: { file },
    format: 'JSONEachRow',
    clickhouse_settings: { output_format_json_quote_64bit_integers: 1 },
  })
  const [row] = await result.json<{ lines: string; files: unknown[] }>()
  return row as { lines: string; files: unknown[] }
}

describe('other content under the same name', () => {
  test('is a version of its own, which grows by itself and is the same for every retry', async () => {
    const file = newFile()
    await post(file, transcript(20))
    const other = transcript(10) + transcript(5, 1000)
    const diverged = await post(file, other)
    expect(diverged).toMatchObject({ status: 200, json: { outcome: 'diverged', lines: 15, added: 5 } })
    const { version } = diverged.json
    expect(version).toMatch(/^[0-9a-f]{16}$/)
    expect(await post(file, other)).toMatchObject({ json: { outcome: 'unchanged', version } })
    expect(await post(file, `${other}${transcript(3, 1005)}`)).toMatchObject({ json: { outcome: 'grown', version } })
    expect(await post(file, transcript(2, 20), resumeAt(transcript(20)))).toMatchObject({ json: { version: 'main' } })
    expect(await ofAnn(file)).toEqual({ main: transcript(22), [version]: `${other}${transcript(3, 1005)}` })

    const { json } = await call('GET', file)
    expect(json.versions.map(({ version, lines }: { version: string; lines: number }) => [version, lines])).toEqual([
      ['main', 22],
      [version, 18],
    ])
  })

  test('from an offset that is not what the client thinks is refused, and nothing is stored of it', async () => {
    const file = newFile()
    await post(file, transcript(4))
    const wrong = { ...resumeAt(transcript(4)), 'Agnes-Prefix-Hash': prefixHash(transcript(4, 1)) }
    expect(await post(file, transcript(2, 4), wrong)).toMatchObject({
      status: 409,
      json: { message: expect.stringContaining('send the whole file') },
    })
    expect(await post(file, transcript(2, 4), resumeAt(transcript(3)))).toMatchObject({ status: 409 })
    expect(await post(newFile(), transcript(2, 4), resumeAt(transcript(4)))).toMatchObject({ status: 409 })
    expect(await ofAnn(file)).toEqual({ main: transcript(4) })
  })

  test('again and again is too much for one name', async () => {
    const small = await stand.gateway({ sessionLimits: { maxVersions: 3 } })
    const file = newFile()
    const answers = []
    for (let i = 0; i < 5; i++) answers.push(await post(file, transcript(2, i * 10), {}, { url: small.url }))
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 409, 409])
    expect(Object.keys(await ofAnn(file))).toHaveLength(3)
  })
})

describe('on the way', () => {
  test.each([
    ['gzip', gzipSync(transcript(2_000))],
    ['identity', Buffer.from(transcript(2_000))],
  ])('%s is taken in pieces', async (encoding, body) => {
    const file = newFile()
    const streamed = await send(gateway.port, {
      path: `/v1/sessions/ann/${file}.jsonl`,
      headers: { 'Content-Encoding': encoding },
      body,
      chunked: true,
    })
    expect(streamed.status).toBe(200)
    expect(await ofAnn(file)).toEqual({ main: transcript(2_000) })
  })

  test.each(['gzip', 'identity'])(
    'a %s upload that is cut keeps its whole lines, and goes on from there',
    async (encoding) => {
      const file = newFile()
      const whole = transcript(1_000)
      const body = encoding === 'gzip' ? gzipSync(whole) : Buffer.from(whole)
      const { socket } = await openConnection(gateway.port)
      const path = `/v1/sessions/ann/${file}.jsonl`
      socket.write(
        requestBytes({ path, headers: { 'Content-Encoding': encoding }, body }).subarray(0, -body.length / 2),
      )
      await expect.poll(async () => (await health()).sessionUploads, { timeout: 5_000 }).toBe(1)
      socket.destroy()
      const offset = async () => Number((await call('HEAD', file)).headers.get('upload-offset'))
      await expect.poll(offset, { timeout: 10_000 }).toBeGreaterThan(0)
      const reached = await offset()
      const prefix = Buffer.from(whole).subarray(0, reached).toString()
      expect(whole.startsWith(prefix) && prefix.endsWith('\n')).toBe(true)
      expect(await ofAnn(file)).toEqual({ main: prefix })
      const rest = Buffer.from(whole).subarray(reached)
      expect(await post(file, rest, resumeAt(prefix))).toMatchObject({ json: { lines: 1_000 } })
      expect(await ofAnn(file)).toEqual({ main: whole })
    },
  )

  test('an upload may take as long as it likes while bytes come; one that falls silent is cut and keeps what is whole', async () => {
    const impatient = await stand.gateway({ arriveWithinMs: 1_500 })
    const [slow, silent] = [newFile(), newFile()]
    const whole = transcript(20)
    const begin = async (file: string) => {
      const connection = await openConnection(impatient.port)
      const bytes = requestBytes({ path: `/v1/sessions/ann/${file}.jsonl`, body: whole })
      const half = bytes.length - Math.round(Buffer.byteLength(whole) / 2)
      connection.socket.write(bytes.subarray(0, half))
      return { ...connection, rest: bytes.subarray(half) }
    }
    const [going, stuck] = [await begin(slow), await begin(silent)]
    const step = Math.ceil(going.rest.length / 10)
    for (let at = 0; at < going.rest.length; at += step) {
      await pause(300)
      going.socket.write(going.rest.subarray(at, at + step))
    }
    expect(await going.answer()).toMatchObject({ status: 200 })
    expect(await ofAnn(slow)).toEqual({ main: whole })
    await stuck.closed()
    await expect.poll(async () => Object.keys(await ofAnn(silent)), { timeout: 10_000 }).toEqual(['main'])
    const { main = '' } = await ofAnn(silent)
    expect(main.length).toBeGreaterThan(100)
    expect(whole.startsWith(main)).toBe(true)
    for (const { socket } of [going, stuck]) socket.destroy()
  })

  test('bytes that turn out not to be gzip become no version', async () => {
    const file = newFile()
    const damaged = gzipSync(transcript(500))
    damaged.writeUInt32LE(1, damaged.length - 8) // its checksum
    expect(await post(file, damaged, { 'Content-Encoding': 'gzip' })).toMatchObject({ status: 400 })
    expect(await ofAnn(file)).toEqual({})
    expect(await post(file, transcript(500))).toMatchObject({ json: { version: 'main', lines: 500 } })
  })

  test('lines and files have limits; a line that is too long is told by a short one and makes no version', async () => {
    const limits = { maxLineBytes: 1_000, maxLines: 20, maxFileBytes: 50_000 }
    const small = await stand.gateway({ sessionLimits: limits })
    const where = { url: small.url }
    const file = newFile()
    const long = `${JSON.stringify({ type: 'user', text: 'x'.repeat(5_000) })}\n`
    const marker = `${JSON.stringify({ type: 'agnes-line-too-long', bytes: long.length - 1 })}\n`
    expect(await post(file, transcript(2) + long, {}, where)).toMatchObject({ json: { lines: 3, tooLong: 1 } })
    expect(await post(file, `${transcript(2)}${long}${transcript(2, 2)}`, {}, where)).toMatchObject({
      json: { outcome: 'grown', lines: 5, bytes: Buffer.byteLength(transcript(4)) + long.length },
    })
    expect(await ofAnn(file)).toEqual({ main: `${transcript(2)}${marker}${transcript(2, 2)}` })
    const changed = long.replace('xxx', 'yyy')
    expect(await post(file, transcript(2) + changed, {}, where)).toMatchObject({ json: { outcome: 'diverged' } })

    expect(await post(newFile(), transcript(21), {}, where)).toMatchObject({ status: 413 })
    expect(await post(newFile(), gzipSync(Buffer.alloc(60_000)), { 'Content-Encoding': 'gzip' }, where)).toMatchObject({
      status: 413,
      json: { message: 'a session may have 50000 bytes: this one has more' },
    })
  })
})

async function health(): Promise<{ sessionUploads: number }> {
  return (await fetch(`${gateway.url}/healthz`)).json() as Promise<{ sessionUploads: number }>
}

describe('names', () => {
  test("are brought into Agnes' form, and the answer says which", async () => {
    const answer = await post('my%20notes%C3%A9', transcript(1), {}, { user: 'ann%20lee' })
    expect(answer).toMatchObject({ status: 200, json: { user: 'ann_lee', file: 'my_notes_' } })
    expect(await stand.stored('default', 'ann_lee', 'my_notes_')).toEqual({ main: transcript(1) })
  })

  test.each([
    ['..%2f..%2fetc', 'x'],
    ['ann', '..%2fx'],
    ['ann', '..%5cx'],
    ['.ann', 'x'],
    ['%2e%2e', 'x'],
    ['ann', '.hidden'],
    ['ann', 'a%00b'],
    ['ann', 'a%0ab'],
    ['ann', '%ff'],
    ['ann', 'x'.repeat(129)],
    ['', 'x'],
  ])('%s / %s is refused', async (user, file) => {
    const path = `/v1/sessions/${user}/${file}.jsonl`
    const { status, body } = await send(gateway.port, { path, body: transcript(1) })
    expect(status).toBe(400)
    expect(JSON.parse(body.toString())).toMatchObject({ code: 3, message: expect.stringMatching(/name|user|path/) })
  })

  test.each(['/v1/sessions/ann/x/y.jsonl', '/v1/sessions/ann', '/v1/sessions/'])('%s is nothing', async (path) => {
    expect(await send(gateway.port, { path, body: '' })).toMatchObject({ status: 404 })
  })

  test('a name without .jsonl, a method or a type that does not fit is told', async () => {
    expect(await send(gateway.port, { path: '/v1/sessions/ann/x.txt', body: '' })).toMatchObject({ status: 400 })
    expect(await call('PUT', 'x', '')).toMatchObject({ status: 405 })
    expect(await post('x', '', { 'Content-Type': 'image/png' })).toMatchObject({ status: 415 })
    expect(await post('x', '', { 'Content-Encoding': 'br' })).toMatchObject({ status: 415 })
    expect(await post('x', '', { 'Upload-Offset': '-1' })).toMatchObject({ status: 400 })
    expect(await post('x', '', { 'Upload-Offset': '10' })).toMatchObject({ status: 400 })
  })
})

describe('keys', () => {
  const keys = [
    { name: 'a', tenant: 'acme', scopes: ['sessions'] as const, secret: 'a'.repeat(40) },
    { name: 'b', tenant: 'bolt', scopes: ['sessions'] as const, secret: 'b'.repeat(40) },
    { name: 'i', tenant: 'acme', scopes: ['ingest'] as const, secret: 'i'.repeat(40) },
  ]
  const bearer = (name: string) => ({ Authorization: `Bearer ${name.repeat(40)}` })

  test("say whose a session is; tenants neither see nor touch each other's", async () => {
    const { url } = await stand.gateway({ needsKeys: true, config: { keys } })
    const file = newFile()
    expect(await post(file, transcript(3), bearer('a'), { url })).toMatchObject({ json: { outcome: 'created' } })
    expect(await call('HEAD', file, undefined, bearer('b'), { url })).toMatchObject({ status: 404 })
    expect(await post(file, transcript(2, 50), bearer('b'), { url })).toMatchObject({
      json: { outcome: 'created', version: 'main' },
    })
    expect(await ofAnn(file, 'acme')).toEqual({ main: transcript(3) })
    expect(await ofAnn(file, 'bolt')).toEqual({ main: transcript(2, 50) })
  })

  test('need the scope sessions', async () => {
    const { url } = await stand.gateway({ needsKeys: true, config: { keys } })
    expect(await post('x', transcript(1), {}, { url })).toMatchObject({ status: 401 })
    expect(await post('x', transcript(1), bearer('i'), { url })).toMatchObject({
      status: 403,
      json: { message: 'the key lacks the scope sessions' },
    })
    const logs = await fetch(`${url}/v1/logs`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', ...bearer('a') },
      body: '{}',
    })
    expect(logs.status).toBe(403)
  })

  test('have limits: who sent more than it may waits, for what was read and not for what was declared', async () => {
    const { url } = await stand.gateway({ needsKeys: true, config: { keys, tenantBytesPerSecond: 10_000 } })
    const file = newFile()
    expect(await post(file, transcript(500), bearer('a'), { url })).toMatchObject({ status: 200 })
    const told = await post(file, transcript(600), bearer('a'), { url })
    expect(told).toMatchObject({ status: 429 })
    expect(told.headers.get('retry-after')).toMatch(/^[123]$/)
    expect(await post(file, transcript(1), bearer('b'), { url })).toMatchObject({ status: 200 })
  })
})

describe('secrets', () => {
  const secrets = ['AKIAIOSFODNN7EXAMPLQ', 'canary-password-1', '4716461583322103', 'canary-bearer-0123456789']
  const line = JSON.stringify({
    type: 'user',
    message: {
      content: `export AWS=${secrets[0]}\npassword=${secrets[1]} card ${secrets[2]}`,
      text: `Bearer ${secrets[3]}`,
    },
  })

  test('are nowhere in the database, the data directory, the log or an answer; the line stays JSON', async () => {
    const file = newFile()
    const own = await stand.gateway()
    const answer = await post(file, `${transcript(1)}${line}\n`, {}, { url: own.url })
    expect(answer.json.redactions).toBeGreaterThanOrEqual(4)
    const stored = (await ofAnn(file)).main ?? ''
    const shown = JSON.parse(stored.split('\n')[1] ?? '')
    expect(shown.message.content).toMatch(
      /^export AWS=\[redacted aws_access_key x[0-9a-f]{16}\]\npassword=\[redacted password /,
    )
    await stand.engine.client.command({ query: 'OPTIMIZE TABLE session_lines FINAL' })
    // Uncompressed, so that they would be found.
    const dump = await stand.engine.client.query({ query: 'SELECT * FROM session_lines', format: 'TabSeparated' })
    const files = readdirSync(own.dataDir, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => readFileSync(path.join(entry.parentPath, entry.name), 'latin1'))
    const everything = [await dump.text(), JSON.stringify(answer.json), ...own.logged, ...files].join('\n')
    for (const secret of secrets) expect(everything).not.toContain(secret)
  })

  test('stored hashes tell nothing: neither that of a line nor that of a file is one anybody can compute', async () => {
    const file = newFile()
    await post(file, `${line}\n`)
    const result = await stand.engine.client.query({
      query: `SELECT lower(hex(hash)) AS line_hash, file_hash FROM session_lines AS l
        INNER JOIN session_files AS f ON l.session_file = f.session_file WHERE f.session_file = {file:String}`,
      query_params: { file },
      format: 'JSONEachRow',
    })
    const [{ line_hash, file_hash } = { line_hash: '', file_hash: '' }] = await result.json<{
      line_hash: string
      file_hash: string
    }>()
    expect(line_hash).toBe(file_hash)
    expect(prefixHash(line)).not.toContain(line_hash)
    expect(createHash('sha256').update(line).digest('hex')).not.toContain(line_hash)
  })

  test('a line with too many of them is taken out whole, and what stands for it is JSON', async () => {
    const file = newFile()
    const text = Array.from({ length: 300 }, (_, i) => `password=secret-number-${i}`).join(' ')
    await post(file, `${JSON.stringify({ type: 'user', text })}\n`)
    const stored = (await ofAnn(file)).main ?? ''
    expect(stored).not.toContain('secret-number')
    expect(() => JSON.parse(stored)).not.toThrow()
  })
})

describe('a ClickHouse that fails', () => {
  test('is told by 503 and when to try again, never by 200; the same upload succeeds later, once', async () => {
    const proxy = await startFaultProxy(stand.engine.url)
    try {
      const { url, logged } = await stand.gateway({ clickhouseUrl: proxy.url })
      const file = newFile()
      const full = { code: 243, message: 'Cannot reserve 1.00 MiB, not enough space. (NOT_ENOUGH_SPACE)' }
      for (const [fault, where] of [
        ['lose-request', 'FROM session_files'],
        [full, 'INSERT INTO session_lines'],
        ['lose-answer', 'INSERT INTO session_lines'],
        [{ ...full, status: 200, withoutHeader: true }, 'INSERT INTO session_lines'],
        [full, 'INSERT INTO session_files'],
        ['lose-answer', 'INSERT INTO session_files'],
      ] as const) {
        proxy.inject(fault, where)
        const met = proxy.met()
        const answer = await post(file, transcript(8), {}, { url })
        expect(proxy.met()).toBe(met + 1)
        expect(answer).toMatchObject({ status: 503, json: { message: expect.stringContaining('keep the file') } })
        expect(answer.headers.get('retry-after')).toBe('5')
      }
      expect(await post(file, transcript(9), {}, { url })).toMatchObject({ status: 200, json: { lines: 9 } })
      expect(await ofAnn(file)).toEqual({ main: transcript(9) })
      expect(logged.filter((line) => line.includes('sessions cannot be stored'))).toHaveLength(1)
    } finally {
      await proxy.stop()
    }
  })
})

test('an upload that brings something new is an audit event of its tenant, one that does not is none', async () => {
  const own = await stand.gateway({ heartbeatMs: 0 })
  const file = newFile()
  for (const lines of [3, 3, 5]) await post(file, transcript(lines), {}, { url: own.url })
  const events = async () => {
    const result = await stand.engine.client.query({
      query: `SELECT action, user_id, result, params FROM audit_log WHERE resource = {resource:String} ORDER BY timestamp`,
      query_params: { resource: `session:${file}` },
      format: 'JSONEachRow',
    })
    return result.json<{ action: string; user_id: string; result: string; params: string }>()
  }
  // A look at the table costs a tenth of one at the view.
  const rows = async () => {
    const query = `SELECT toUInt32(count()) AS rows FROM otel_logs WHERE Resource = {resource:String}`
    const result = await stand.engine.client.query({
      query,
      query_params: { resource: `session:${file}` },
      format: 'JSONEachRow',
    })
    return (await result.json<{ rows: number }>())[0]?.rows
  }
  await expect.poll(rows, { timeout: 15_000, interval: 200 }).toBe(2)
  expect(await events()).toEqual([
    {
      action: 'session.upload',
      user_id: 'ann',
      result: 'success',
      params: expect.stringContaining('"outcome":"created"'),
    },
    {
      action: 'session.upload',
      user_id: 'ann',
      result: 'success',
      params: expect.stringContaining('"outcome":"grown"'),
    },
  ])
})
