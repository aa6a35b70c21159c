/**
 * An audit event for each upload that brought something new, so that the timeline shows it and processors know of it. It is
 * handed over inside the process, under the tenant of the session. The upload waits for nothing of it.
 */
import { randomUUID } from 'node:crypto'
import type { SessionKey, SessionSource } from '@agnes/clickhouse'
import { attribute } from '@agnes/events'
import type { UploadResult } from './upload.ts'

/** Takes an `ExportLogsServiceRequest` in JSON. */
export type Deliver = (request: Buffer, tenant: string) => Promise<void>

export type UploadAudit = (key: SessionKey, source: SessionSource, result: UploadResult, durationMs: number) => void

export function createUploadAudit(deliver: Deliver): UploadAudit {
  return (key, source, result, durationMs) => {
    const { version, lines, bytes, added, redactions, outcome } = result
    const attributes = {
      [attribute.logRecordUid]: randomUUID(),
      [attribute.action]: 'session.upload',
      [attribute.resource]: `session:${key.file}`,
      [attribute.result]: 'success',
      [attribute.userId]: key.user,
      [attribute.clientKind]: source === 'directory' ? 'system' : 'cli',
      [attribute.durationMs]: String(Math.round(durationMs)),
      [attribute.params]: JSON.stringify({ outcome, version, lines, bytes, added, redactions, source }),
    }
    const timeUnixNano = `${Date.now()}000000`
    const request = {
      resourceLogs: [
        {
          resource: { attributes: [keyValue('service.name', 'agnes-ingest-gateway')] },
          scopeLogs: [
            {
              scope: { name: 'agnes' },
              logRecords: [
                {
                  timeUnixNano,
                  observedTimeUnixNano: timeUnixNano,
                  severityNumber: 9,
                  severityText: 'INFO',
                  eventName: 'agnes.audit',
                  attributes: Object.entries(attributes).map(([name, value]) => keyValue(name, value)),
                },
              ],
            },
          ],
        },
      ],
    }
    // A spool that takes nothing says so itself.
    deliver(Buffer.from(JSON.stringify(request)), key.tenant).catch(() => {})
  }
}

function keyValue(key: string, stringValue: string) {
  return { key, value: { stringValue } }
}
