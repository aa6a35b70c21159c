/** docs/schema.md from a database that was just migrated: what it says is what ClickHouse has. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { createAgnesClient, migrate } from '@agnes/clickhouse'
import { startEngine } from '@agnes/clickhouse/engine'

export async function schemaReference() {
  const dataDir = mkdtempSync(path.join(tmpdir(), 'agnes-schema-'))
  const engine = await startEngine({ dataDir, host: '127.0.0.1', port: 0 })
  const client = createAgnesClient({ url: engine.url })
  try {
    await migrate(client)
    const select = async (query) => (await client.query({ query, format: 'JSONEachRow' })).json()
    const tables = await select(
      `SELECT name, engine, comment, sorting_key, partition_key FROM system.tables
       WHERE database = 'agnes' ORDER BY engine = 'View', name`,
    )
    const columns = await select(
      `SELECT table, name, type, comment, default_kind FROM system.columns WHERE database = 'agnes' ORDER BY table, position`,
    )
    return page(tables, columns)
  } finally {
    await client.close()
    await engine.stop()
    rmSync(dataDir, { recursive: true })
  }
}

function page(tables, columns) {
  const sections = tables.map(({ name, engine, comment, sorting_key: order, partition_key: partition }) => {
    const rows = columns
      .filter(({ table }) => table === name)
      .map(
        ({ name: column, type, comment: meaning, default_kind: kind }) =>
          `| \`${column}\` | \`${type}\` | ${meaning.replaceAll('<', '&lt;')}${kind === 'ALIAS' ? ' Computed when read.' : ''} |`,
      )
    const facts =
      engine === 'View'
        ? ''
        : `\n\nSorted by \`${order}\`${partition === '' ? '' : `, partitioned by \`${partition}\``}.`
    const table = rows.length === 0 ? '' : `\n| column | type | meaning |\n|---|---|---|\n${rows.join('\n')}\n`
    return `## \`${name}\`${engine === 'View' ? ' (view)' : ''}\n${comment || parameterised[name] || ''}${facts}\n${table}`
  })
  return `# Schema

Database \`agnes\`. Read the views; they keep their columns while the table below them may grow. Times are in UTC.

${sections.join('\n')}
This page is generated from a migrated database by \`npm run generate\`.
`
}

/** A parameterised view has no comment and no columns of its own: it must be called to have any. */
const parameterised = {
  health_pulse: `Is the instance well at an instant? One row a field: \`name\`, \`color\`, \`value\` (seconds or a count), \`detail\`,
\`explanation\`, \`filter\` (JSON, of the timeline) and \`filter_seconds\` (how far it goes back).

\`\`\`sql
SELECT name, color, value, explanation FROM health_pulse(now = now64(9), tenant = 'default')
\`\`\``,
}
