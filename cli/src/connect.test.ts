import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createAgnesClient } from '@agnes/clickhouse'
import { UserError } from '@agnes/config'
import { afterEach, expect, test } from 'vitest'
import { freePort } from '../../tests/support/processes.ts'
import { explain } from './connect.ts'

/** What the client throws is the real client's; only the server is played. */
let closeServer = async (): Promise<void> => {}
afterEach(() => closeServer())

test('nothing listens: which address, and what to do about it', async () => {
  const port = await freePort()
  const error = await explained(port)
  expect(error.message).toBe(`cannot reach ClickHouse at http://127.0.0.1:${port}`)
  expect(error).toMatchObject({ code: 'unreachable', exitCode: 1, hint: expect.stringContaining('CLICKHOUSE_URL') })
  expect((await explained(port, { embedded: true })).hint).toContain('agnes up')
})

test('a server that hangs is told from one that is not there', async () => {
  const port = await serve(() => {})
  expect((await explained(port, { requestTimeoutMs: 50 })).message).toBe(
    `ClickHouse at http://127.0.0.1:${port} did not answer in time`,
  )
})

test('a server that hangs up is not reached', async () => {
  const port = await serve((request) => request.socket.destroy())
  expect((await explained(port)).message).toBe(`cannot reach ClickHouse at http://127.0.0.1:${port}`)
})

test.each([
  [
    "Code: 60. DB::Exception: Unknown table expression identifier 'nope' in scope SELECT 1. (UNKNOWN_TABLE) (version 26.3.1)",
    "ClickHouse: Unknown table expression identifier 'nope' in scope SELECT 1. (UNKNOWN_TABLE)",
    /agnes migrate/,
  ],
  [
    'Code: 516. DB::Exception: u: Authentication failed: password is incorrect. (AUTHENTICATION_FAILED) (version 26.3.1)',
    'ClickHouse: u: Authentication failed: password is incorrect. (AUTHENTICATION_FAILED)',
    /CLICKHOUSE_URL/,
  ],
  [
    'Code: 62. DB::Exception: Syntax error: failed at position 1 (selct): selct 1. Expected one of: SELECT, SHOW, a hundred more. (SYNTAX_ERROR) (version 26.3.1)',
    'ClickHouse: Syntax error: failed at position 1 (selct): selct 1 (SYNTAX_ERROR)',
    undefined,
  ],
])('an error of ClickHouse is said in one line: %s', async (answer, message, hint) => {
  const error = await explained(await serve(answering(400, answer)))
  expect(error.message).toBe(message)
  expect(error.code).toBe('clickhouse')
  if (hint === undefined) expect(error.hint).toBeUndefined()
  else expect(error.hint).toMatch(hint)
})

test('a long error, or one that quotes an event, neither fills the screen nor steers the terminal', async () => {
  const answer = `Code: 6. DB::Exception: Cannot parse '\u001b[2J\u202e${'x'.repeat(5000)}'. (CANNOT_PARSE_TEXT) (version 26)`
  const { message } = await explained(await serve(answering(500, answer)))
  expect(message).not.toMatch(/\p{Cc}|\p{Bidi_Control}/u)
  expect(message.length).toBeLessThan(350)
})

test.each([
  [404, '<html>\n<body>not here</body></html>'],
  [200, '<!doctype html>\n<html></html>\n'],
  [400, 'Port 9000 is for clickhouse-client program\r\nYou must use port 8123 for HTTP.\r\n'],
])('something else than ClickHouse answers (%i %j): that is no bug of ours', async (status, answer) => {
  const port = await serve(answering(status, answer))
  const error = await explained(port)
  expect(error.message).toBe(`what answers at http://127.0.0.1:${port} is not the HTTP interface of ClickHouse`)
  expect(error.hint).toContain('check CLICKHOUSE_URL')
})

test('TLS against a server without it is a matter of the connection', async () => {
  const port = await serve(answering(200, ''))
  expect((await explained(port, { protocol: 'https' })).message).toMatch(
    `cannot use ClickHouse at https://127.0.0.1:${port}: `,
  )
})

test('what is no error of the connection is left as it is', () => {
  const bug = new TypeError('x is not a function')
  const ours = new UserError('no', { code: 'usage' })
  expect(explain(bug, 'http://127.0.0.1:1/agnes', true)).toBe(bug)
  expect(explain(ours, 'http://127.0.0.1:1/agnes', true)).toBe(ours)
})

interface Asking {
  readonly embedded?: boolean
  readonly requestTimeoutMs?: number
  readonly protocol?: 'http' | 'https'
}

/** Asks the server for something and explains why it failed. The password is in the URL, and must be nowhere else. */
async function explained(port: number, { embedded = false, protocol = 'http', ...options }: Asking = {}) {
  const url = `${protocol}://reader:s3cret-word@127.0.0.1:${port}/agnes`
  const client = createAgnesClient({ url, ...options })
  try {
    await (await client.query({ query: 'SELECT 1', format: 'JSONEachRow' })).json()
  } catch (thrown) {
    const error = explain(thrown, url, embedded)
    if (!(error instanceof UserError)) throw error
    expect(`${error.message} ${error.hint}`).not.toMatch(/s3cret-word|reader/)
    return error
  } finally {
    await client.close()
  }
  throw new Error('the query succeeded')
}

function answering(status: number, text: string): RequestListener {
  return (request, response) => {
    request.resume()
    response.writeHead(status).end(text)
  }
}

async function serve(answer: RequestListener): Promise<number> {
  const server = createServer(answer).listen(0, '127.0.0.1')
  await once(server, 'listening')
  closeServer = async () => {
    server.closeAllConnections()
    server.close()
    await once(server, 'close')
    closeServer = async () => {}
  }
  return (server.address() as AddressInfo).port
}
