/** Rows of `otel_logs` for tests, written as an unknown OTLP writer would: the attributes, and nothing derived. */
import type { ClickHouseClient } from '@agnes/clickhouse'

export interface TestEvent {
  readonly tenant: string
  readonly at: Date
  /** Left out of the row when empty, as by writers that do not know the column. */
  readonly name: string
  readonly attributes?: Readonly<Record<string, string>>
  readonly resource?: Readonly<Record<string, string>>
  readonly scope?: string
  readonly body?: string
}

export async function insertEvents(client: ClickHouseClient, events: readonly TestEvent[]): Promise<void> {
  await client.insert({
    table: 'otel_logs',
    values: events.map(({ tenant, at, name, attributes = {}, resource = {}, scope = '', body = '' }) => ({
      TenantId: tenant,
      Timestamp: at.toISOString(),
      ...(name === '' ? {} : { EventName: name }),
      LogAttributes: attributes,
      ...(resource['service.name'] === undefined ? {} : { ServiceName: resource['service.name'] }),
      ResourceAttributes: resource,
      ScopeName: scope,
      Body: body,
    })),
    format: 'JSONEachRow',
    clickhouse_settings: { date_time_input_format: 'best_effort' },
  })
}
