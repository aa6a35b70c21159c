/** What a Prometheus sees. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { expectAccountsClose } from '../../tests/support/accounts.ts'
import { type SpoolOnlyGateway, startSpoolOnlyGateway } from '../../tests/support/spool-only-gateway.ts'

let gateway: SpoolOnlyGateway
beforeAll(async () => {
  gateway = await startSpoolOnlyGateway()
})
afterAll(() => gateway.stop())

async function page(): Promise<string> {
  const response = await fetch(`${gateway.url}/metrics`)
  expect(response.status).toBe(200)
  expect(response.headers.get('content-type')).toMatch(/^text\/plain; version=0\.0\.4/)
  return response.text()
}

/** Samples by name with labels, as they stand in the text. */
async function scrape(): Promise<Map<string, number>> {
  const lines = (await page()).split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  return new Map(
    lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ') + 1))]),
  )
}

function post(path: string, body: string): Promise<Response> {
  return fetch(`${gateway.url}${path}`, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body })
}
const two = '{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"a"}},{"body":"bad"}]}]}]}'

test('every request is counted, and at rest the account closes', async () => {
  await post('/v1/logs', two)
  await post('/v1/logs', two) // a retry
  await post('/v1/logs', two.replace('"a"', '"b"'))
  await post('/v1/logs', '[]')
  await post('/v1/traces', '{}')
  const samples = await scrape()
  const value = (name: string): number => samples.get(name) ?? Number.NaN
  expect(value('agnes_ingest_requests_total{protocol="http",status="200"}')).toBe(4)
  expect(value('agnes_ingest_requests_total{protocol="http",status="400"}')).toBe(1)
  expect(value('agnes_ingest_refused_requests_total{reason="body"}')).toBe(1)
  expect(value('agnes_ingest_refused_requests_total{reason="unauthenticated"}')).toBe(0)
  expect(value('agnes_ingest_not_stored_requests_total{signal="traces"}')).toBe(1)
  expect(value('agnes_ingest_request_duration_seconds_count{protocol="http"}')).toBe(5)
  expect(value('agnes_spool_writable')).toBe(1)
  expect(expectAccountsClose(await page())).toEqual({
    default: { received: 5, recovered: 0, stored: 0, duplicate: 1, rejected: 2, quarantined: 0, spool: 2 },
  })
})

test('a request with a wrong key is counted as that', async () => {
  await fetch(`${gateway.url}/v1/logs`, { method: 'POST', headers: { Authorization: 'Bearer wrong' } })
  const samples = await scrape()
  expect(samples.get('agnes_ingest_refused_requests_total{reason="unauthenticated"}')).toBe(1)
  expect(samples.get('agnes_ingest_keys')).toBe(0)
  expect(samples.get('agnes_ingest_keys_age_seconds')).toBe(-1)
})

test('asking again does not count twice, and figures of the process are there', async () => {
  const [first, second] = [await scrape(), await scrape()]
  const received = 'agnes_ingest_received_records_total{tenant="default"}'
  expect(first.get(received)).toBe(5)
  expect(second.get(received)).toBe(5)
  expect(second.get('process_resident_memory_bytes')).toBeGreaterThan(1_000_000)
})

test('a writer that cannot reach ClickHouse shows', async () => {
  await expect.poll(async () => (await scrape()).get('agnes_writer_failing'), { timeout: 10_000 }).toBe(1)
})
