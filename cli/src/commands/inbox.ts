import type { Command } from 'commander'
import { gatewayHeaders } from '../admin-key.ts'
import { createDataDir } from '../data-dir.ts'
import { gatewayAgent } from '../gateway-client.ts'
import { findInstance } from '../instance.ts'
import { runService } from '../service/run.ts'
import { version } from '../version.ts'

export function registerInbox(program: Command): void {
  program
    .command('inbox')
    .description('Run the inbox alone: admin pages and their API')
    .addHelpText(
      'after',
      `
Examples:
  agnes inbox
  AGNES_HTTP_PORT=9000 CLICKHOUSE_URL=https://agnes:secret@db.example:8443/agnes agnes inbox
`,
    )
    .action(() =>
      runService('inbox', async (config, log) => {
        createDataDir(config)
        const { startInbox } = await import('@agnes/feedback-inbox')
        const { clickhouseUrl, otlpUrl } = findInstance(config)
        return startInbox({
          config,
          clickhouseUrl,
          gateway: { url: otlpUrl, headers: gatewayHeaders(config), agent: gatewayAgent(config) },
          version,
          log,
        })
      }),
    )
}
