import type { HealthField, HealthPulse } from '@agnes/clickhouse'
import { exitCodes } from '@agnes/config'
import type { Command } from 'commander'
import { tenant } from '../arguments.ts'
import { withClickHouse } from '../connect.ts'
import { paint } from '../output/paint.ts'
import { renderTable } from '../output/table.ts'
import { harmless, harmlessJson } from '../output/text.ts'
import { typed } from '../output/typed.ts'
import { activityCommand } from './activity-arguments.ts'

export function registerHealth(program: Command): void {
  program
    .command('health')
    .description('Is the instance healthy? Exit code 1 when red')
    .option('--tenant <tenant>', 'of this tenant (default: default)', tenant)
    .option('--json', 'print the pulse as JSON')
    .addHelpText(
      'after',
      `
Examples:
  agnes health
  agnes health --json | jq .status
  agnes health > /dev/null || echo "look at it"
`,
    )
    .action(async ({ tenant, json }: { tenant?: string; json?: boolean }) => {
      await withClickHouse(async (client) => {
        const { fetchHealth } = await import('@agnes/clickhouse')
        const pulse = await fetchHealth(client, tenant === undefined ? {} : { tenant })
        process.stdout.write(json ? `${harmlessJson(pulse, 2)}\n` : renderPulse(pulse))
        process.exitCode = pulse.status === 'red' ? exitCodes.failure : exitCodes.done
      })
    })
}

export function renderPulse({ status, sentence, fields }: HealthPulse): string {
  const table = renderTable(fields, [
    { title: '', text: () => '●', color: (field) => field.color },
    { title: 'field', text: (field) => field.name },
    { title: '', text: (field) => field.color, color: (field) => field.color },
    { title: 'value', text: (field) => field.value, flexible: true },
  ])
  const look = fields.filter(({ color }) => color !== 'green').map(lookInto)
  return `${paint[status](`● ${harmless(sentence)}`)}\n\n${table}${look.join('')}`
}

/** What the field means, and the command that shows the rows behind it. */
function lookInto({ name, explanation, filter }: HealthField): string {
  const command = activityCommand(filter).replace(/^agnes/, typed)
  return `\n${paint.bold(name)}: ${harmless(explanation)}\n  ${harmless(command)}\n`
}
