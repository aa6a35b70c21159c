/** Transcripts in the tables, as the gateway leaves them; and records of Claude Code to make them of. */
import { createHash } from 'node:crypto'
import { type ClickHouseClient, insertSessionFiles, insertSessionLines, mainVersion } from '@agnes/clickhouse'

export interface StoredSession {
  readonly tenant: string
  readonly user?: string
  readonly file: string
  readonly lines: readonly string[]
  /** Lines before it are there already. */
  readonly fromLine?: number
  readonly version?: string
  readonly firstReceivedAt?: Date
  readonly receivedAt?: Date
}

export const firstSeen = new Date('2026-11-20T10:00:00.000Z')

/** Stores lines from one on, and says that the file has them. */
export async function storeSession(client: ClickHouseClient, session: StoredSession): Promise<void> {
  const { tenant, user = 'anna', file, lines, fromLine = 1, version = mainVersion } = session
  const firstReceivedAt = session.firstReceivedAt ?? firstSeen
  const receivedAt = session.receivedAt ?? new Date(firstReceivedAt.getTime() + lines.length * 1000)
  const hashes = [Buffer.alloc(16)]
  for (const line of lines) {
    const hash = createHash('sha256').update(hashes.at(-1) as Buffer)
    hashes.push(hash.update(line).digest().subarray(0, 16))
  }
  const key = { tenant, user, file }
  await insertSessionLines(client, {
    key,
    fromLine,
    parent: fromLine === 1 ? undefined : hashes[fromLine - 1],
    lines: lines.slice(fromLine - 1).map((line, i) => ({
      hash: hashes[fromLine + i] as Buffer,
      line: Buffer.from(line),
      redactions: [],
    })),
    redactionRules: 'off',
    firstReceivedAt,
    receivedAt,
  })
  await insertSessionFiles(client, [
    {
      ...key,
      version,
      lines: lines.length,
      bytes: lines.reduce((sum, line) => sum + Buffer.byteLength(line) + 1, 0),
      fileHash: (hashes.at(-1) as Buffer).toString('hex'),
      parentLines: 0,
      parentHash: '',
      firstReceivedAt,
      receivedAt,
      redactions: 0,
      source: 'upload',
    },
  ])
}

/** Writes the records of one session, a second apart. */
export function transcript(sessionId: string, startedAt: Date) {
  const lines: string[] = []
  let seconds = 0
  let last: string | null = null
  const add = (type: string, uuid: string, more: Record<string, unknown>): void => {
    lines.push(
      JSON.stringify({
        parentUuid: last,
        isSidechain: false,
        userType: 'external',
        cwd: '/home/anna/shop',
        sessionId,
        version: '2.1.214',
        gitBranch: 'main',
        type,
        ...more,
        uuid,
        timestamp: new Date(startedAt.getTime() + seconds++ * 1000).toISOString(),
      }),
    )
    last = uuid
  }
  const id = (): string => `${sessionId}-${lines.length}`
  const usageOf = (output: number) => ({
    input_tokens: 10,
    output_tokens: output,
    cache_read_input_tokens: 100,
    cache_creation_input_tokens: 1,
  })
  const writer = {
    lines,
    /** Goes on that much later. */
    wait(more: number) {
      seconds += more
      return writer
    },
    prompt(text: string) {
      add('user', id(), { message: { role: 'user', content: text } })
      return writer
    },
    /** One line of an API message; several lines may share a message. */
    says(messageId: string, text: string, outputTokens = 5) {
      const message = {
        id: messageId,
        type: 'message',
        role: 'assistant',
        model: 'claude-opus-4-5',
        content: [{ type: 'text', text }],
        stop_reason: null,
        usage: usageOf(outputTokens),
      }
      add('assistant', id(), { requestId: `req_${messageId}`, message })
      return writer
    },
    calls(
      messageId: string,
      toolUseId: string,
      name: string,
      input: Record<string, unknown> = { command: 'ls' },
      outputTokens = 7,
    ) {
      const message = {
        id: messageId,
        type: 'message',
        role: 'assistant',
        model: 'claude-opus-4-5',
        content: [{ type: 'tool_use', id: toolUseId, name, input }],
        stop_reason: 'tool_use',
        usage: usageOf(outputTokens),
      }
      add('assistant', id(), { requestId: `req_${messageId}`, message })
      return writer
    },
    result(toolUseId: string, text: string, isError = false) {
      const block = {
        type: 'tool_result',
        tool_use_id: toolUseId,
        content: text,
        ...(isError ? { is_error: true } : {}),
      }
      add('user', id(), { message: { role: 'user', content: [block] } })
      return writer
    },
  }
  return writer
}
