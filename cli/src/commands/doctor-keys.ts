/** What `agnes doctor` finds out about keys. */
import { statSync } from 'node:fs'
import type { ClickHouseClient } from '@agnes/clickhouse'
import type { Config } from '@agnes/config'
import { adminKeyFile } from '../admin-key.ts'
import type { Finding } from './doctor.ts'

/** The file with the admin key is for its owner only. */
export function adminKey(config: Pick<Config, 'dataDir'>): Finding[] {
  const check = 'admin key'
  const file = adminKeyFile(config)
  const stat = statSync(file, { throwIfNoEntry: false })
  if (stat === undefined) return []
  const mode = (stat.mode & 0o777).toString(8)
  if ((stat.mode & 0o077) === 0) return [{ check, status: 'ok', detail: `${file}, mode ${mode}` }]
  return [
    {
      check,
      status: 'problem',
      detail: `${file} can be read by others (mode ${mode})`,
      advice: `chmod 600 ${file}; then "agnes keys rotate" it with --grace 0s, and put the new key there`,
    },
  ]
}

const soonMs = 7 * 86_400_000

/** Keys that end soon, before their senders find out. */
export async function keys(client: ClickHouseClient, now = new Date()): Promise<Finding[]> {
  const { fetchLiveKeys } = await import('@agnes/clickhouse')
  const check = 'keys'
  try {
    const live = (await fetchLiveKeys(client)).filter(({ expiresAt }) => expiresAt === undefined || expiresAt > now)
    const ending = live.filter(
      ({ expiresAt }) => expiresAt !== undefined && expiresAt.getTime() < now.getTime() + soonMs,
    )
    if (ending.length === 0) return [{ check, status: 'ok', detail: `${live.length} valid` }]
    const which = ending.map(({ id, note }) => (note === '' ? id : `${id} (${note})`)).join(', ')
    return [
      {
        check,
        status: 'warning',
        detail: `${ending.length} of ${live.length} end within a week: ${which}`,
        advice: 'create new ones: a rotation does not change when a key ends',
      },
    ]
  } catch {
    return [] // a schema of before: said by the check of migrations
  }
}
