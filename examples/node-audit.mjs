// Audit events from a Node app with nothing but the public OpenTelemetry SDK:
//   npm install @opentelemetry/api-logs @opentelemetry/sdk-logs @opentelemetry/exporter-logs-otlp-proto @opentelemetry/resources
//   OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 node node-audit.mjs
import { randomUUID } from 'node:crypto'
import { OTLPLogExporter } from '@opentelemetry/exporter-logs-otlp-proto'
import { resourceFromAttributes } from '@opentelemetry/resources'
import { BatchLogRecordProcessor, LoggerProvider } from '@opentelemetry/sdk-logs'

const provider = new LoggerProvider({
  resource: resourceFromAttributes({ 'service.name': 'node-example', 'service.version': '1.0.0' }),
  processors: [new BatchLogRecordProcessor({ exporter: new OTLPLogExporter() })],
})
const logger = provider.getLogger('node-example')
for (const [action, result] of [
  ['sync.trigger', 'success'],
  ['query.local', 'error.invalid_sql'],
]) {
  logger.emit({
    eventName: 'agnes.audit',
    attributes: {
      'log.record.uid': randomUUID(),
      'user.id': 'node-user',
      'agnes.action': action,
      'agnes.resource': 'table:orders',
      'agnes.result': result,
      'agnes.params': JSON.stringify({ full: true }),
    },
  })
}
await provider.shutdown()
