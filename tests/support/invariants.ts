/** What holds after any input, however bad: the gateway goes on, has said nothing it should not, and its account closes. */
import { expect } from 'vitest'
import { expectAccountsClose } from './accounts.ts'
import { send } from './raw-http.ts'
import type { SpoolOnlyGateway } from './spool-only-gateway.ts'

/** Put it into bad input; it must come back nowhere. */
export const secret = 'sk-ant-canary-0123456789'

let sent = 0

/** A request in JSON that was not sent before, with so many records. */
export function freshJson(records = 1): string {
  const logRecords = Array.from({ length: records }, () => ({ body: { stringValue: `event ${++sent}` } }))
  return JSON.stringify({ resourceLogs: [{ scopeLogs: [{ logRecords }] }] })
}

export async function expectInvariants(gateway: SpoolOnlyGateway): Promise<void> {
  const before = gateway.counts().backlogRecords
  const answer = await send(gateway.port, { headers: { 'Content-Type': 'application/json' }, body: freshJson() })
  expect(answer, 'a good request afterwards').toMatchObject({ status: 200 })
  expect(gateway.counts().backlogRecords - before, 'is stored').toBe(1)
  for (const line of gateway.logged) expect(line, 'logged').not.toMatch(/unexpected|^\s+at |\.[jt]s:\d|canary/m)
  const metrics = await send(gateway.port, { method: 'GET', path: '/metrics' })
  const text = metrics.body.toString()
  expect(text).not.toContain('canary')
  expectAccountsClose(text)
}
