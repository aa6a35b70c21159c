import path from 'node:path'
import { engineHost } from '@agnes/config'
import type { Command } from 'commander'
import { runService } from '../service/run.ts'

export function registerEngine(program: Command): void {
  program
    .command('engine')
    .description('Run the embedded ClickHouse engine alone')
    .addHelpText('after', '\nExamples:\n  agnes engine\n  AGNES_CLICKHOUSE_PORT=0 agnes engine\n')
    .action(() =>
      runService('engine', async (config) => {
        // This process is the engine's: an abort in it takes nobody else along.
        const { serveEngine } = await import('@agnes/clickhouse/engine')
        return serveEngine({
          dataDir: path.join(config.dataDir, 'clickhouse'),
          host: engineHost(config.host),
          port: config.clickhousePort,
        })
      }),
    )
}
