/** The transcoders alone, one thread: CPU per record and bytes per second. */
import { type Rows, transcodeJson, transcodeProtobuf } from '@agnes/ingest-gateway'
import { compileRules, createRedaction } from '@agnes/redaction'
import { jsonTemplate, protobufTemplate } from './load.ts'
import { type Figure, report } from './report.ts'

const records = 500
const startNs = 1_795_000_000_000_000_000n

export async function benchTranscode(): Promise<void> {
  const figures: Figure[] = []
  const redaction = createRedaction(await compileRules({}), Buffer.alloc(32))
  const cases = [
    ['protobuf', protobufTemplate(records, startNs).body, transcodeProtobuf, false],
    ['protobuf, redacted', protobufTemplate(records, startNs).body, transcodeProtobuf, true],
    ['json', jsonTemplate(records, startNs).body, transcodeJson, false],
    ['json, redacted', jsonTemplate(records, startNs).body, transcodeJson, true],
  ] as const
  for (const [name, body, transcode, redacted] of cases) {
    const once = (): Rows => transcode(body, startNs, redacted ? { redactor: redaction('default') } : {})
    const rounds = name.startsWith('protobuf') ? 1_500 : 150
    for (let i = 0; i < rounds / 5; i++) once()
    const before = process.cpuUsage()
    for (let i = 0; i < rounds; i++) once()
    const { user, system } = process.cpuUsage(before)
    const microseconds = user + system
    figures.push(
      { name: `${name}: CPU per record`, value: microseconds / (rounds * records), unit: 'µs' },
      { name: `${name}: input`, value: (rounds * body.length) / microseconds, unit: 'MB/s' },
    )
  }
  report('transcode', figures)
}
