/** Sending reports as a client does that knows the contract and nothing of our code. */
import { createHash } from 'node:crypto'
import type { TestInbox } from './inbox.ts'

export interface SentReport {
  readonly status: number
  readonly headers: Headers
  readonly body: Record<string, unknown>
}

export function aReport(changes: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
  return {
    version: 1,
    id: crypto.randomUUID(),
    created_at: new Date().toISOString(),
    reporter: 'ann',
    message: 'the nightly sync does not start',
    environment: { agnes: '0.1.0', os: 'linux' },
    session: {
      file: 'b7e1c2d3',
      session_id: 'b7e1c2d3',
      turns: [failedCall('toolu_1', 'Exit code 1\nError: no such table: orders_7')],
    },
    ...changes,
  }
}

export function failedCall(id: string, text: string, tool = 'Bash'): Record<string, unknown> {
  return { role: 'user', kind: 'tool_result', tool, tool_use_id: id, is_error: true, text }
}

/** @param report an object, or the very text that is sent */
export async function sendReport(
  { url }: Pick<TestInbox, 'url'>,
  key: string,
  report: unknown,
  headers: Readonly<Record<string, string>> = {},
): Promise<SentReport> {
  const body = typeof report === 'string' || report instanceof Uint8Array ? report : JSON.stringify(report, null, 2)
  const answer = await fetch(`${url}/api/feedback`, {
    method: 'POST',
    body,
    headers: {
      'content-type': 'application/json',
      'agnes-preview-sha256': createHash('sha256').update(body).digest('hex'),
      authorization: `Bearer ${key}`,
      ...headers,
    },
  })
  return { status: answer.status, headers: answer.headers, body: (await answer.json()) as Record<string, unknown> }
}
