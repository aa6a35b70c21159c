import { constants, setPriority } from 'node:os'
import type { Command } from 'commander'
import { gatewayHeaders } from '../admin-key.ts'
import { gatewayAgent } from '../gateway-client.ts'
import { findInstance } from '../instance.ts'
import { runService } from '../service/run.ts'
import { version } from '../version.ts'

export function registerProcessors(program: Command): void {
  program
    .command('processors')
    .description('Run the processors of sessions and the alerts alone')
    .addHelpText(
      'after',
      `
Of several, on any machines, one runs them; the others wait for it to end.

Examples:
  agnes processors
  AGNES_PROCESSOR_FAILURE_SCAN_INTERVAL=60 AGNES_PROCESSOR_USAGE_INTERVAL=0 agnes processors
  CLICKHOUSE_URL=https://agnes:secret@db.example:8443/agnes agnes processors
`,
    )
    .action(() =>
      runService('processors', async (config, log) => {
        const { startProcessors } = await import('@agnes/processors')
        // Nobody waits for them, and senders wait for the gateway beside them.
        setPriority(constants.priority.PRIORITY_BELOW_NORMAL)
        const { clickhouseUrl, otlpUrl } = findInstance(config)
        const agent = gatewayAgent(config)
        const { stop } = startProcessors({
          clickhouseUrl,
          intervals: config.processorIntervals,
          dailyBudgetUsd: config.alertsDailyBudgetUsd,
          telemetry: {
            endpoint: otlpUrl,
            headers: gatewayHeaders(config),
            serviceVersion: version,
            ...(agent && { agent }),
          },
          log,
        })
        return { stop }
      }),
    )
}
