/**
 * Sessions that fail as reports of a cause say, though nobody reported them: found by tool and words, and judged by the
 * same rule that gives a report its cause. What stands beyond the 300 characters that findings keep is not seen, so it is
 * the least there are.
 */
import {
  type ClickHouseClient,
  fetchCause,
  fetchReportedSessions,
  fetchSilentFindings,
  type KnownCause,
  type SilentCause,
} from '@agnes/clickhouse'
import { createCache } from '../cached.ts'
import { causeOf } from './cause.ts'

export interface Silent extends SilentCause {
  /** How many sessions. */
  readonly sessions: number
}

export interface SilentSessions {
  /** By key of the cause; what nobody but reporters has is left out. */
  of(tenant: string, causes: readonly KnownCause[]): Promise<ReadonlyMap<string, Silent>>
  /** The filter of sessions for one cause; of what nobody reported, or nobody else has, it lets none through. */
  filter(tenant: string, causeKey: string): Promise<SilentCause>
}

const freshMs = 60_000
const staleMs = 600_000
/** Their hashes travel in a URL. */
const mostExcerpts = 300

export function createSilent(client: ClickHouseClient): SilentSessions {
  const answers = createCache<ReadonlyMap<string, Silent>>({ freshMs, staleMs })
  const of: SilentSessions['of'] = (tenant, causes) => {
    const known = causes.filter(({ causeKey }) => causeKey !== '')
    const keys = known.map(({ causeKey }) => causeKey).sort()
    return answers(JSON.stringify([tenant, keys]), () => find(client, tenant, known))
  }
  return {
    of,
    async filter(tenant, causeKey) {
      const cause = await fetchCause(client, { tenant, causeKey })
      const silent = cause === undefined ? undefined : (await of(tenant, [cause])).get(causeKey)
      return silent ?? { causeKey, tool: '', excerpts: [] }
    },
  }
}

async function find(
  client: ClickHouseClient,
  tenant: string,
  causes: readonly KnownCause[],
): Promise<ReadonlyMap<string, Silent>> {
  if (causes.length === 0) return new Map()
  const [findings, reported] = await Promise.all([
    fetchSilentFindings(client, {
      tenant,
      causes: causes.map(({ tool, text }) => ({ tool, words: longestWords(text) })),
    }),
    fetchReportedSessions(client, { tenant, causeKeys: causes.map(({ causeKey }) => causeKey) }),
  ])
  const wanted = new Set(causes.map(({ causeKey }) => causeKey))
  const found = new Map<string, { tool: string; excerpts: string[]; sessions: Set<string> }>()
  for (const { type, tool, excerpt, hash, sessions } of findings) {
    const kind = type === 'api_error' ? 'api_error' : 'tool_result'
    const cause = causeOf([{ role: 'user', kind, tool, is_error: true, text: excerpt }])
    if (cause === undefined || !wanted.has(cause.key)) continue
    const silent = found.get(cause.key) ?? { tool, excerpts: [], sessions: new Set<string>() }
    found.set(cause.key, silent)
    if (silent.excerpts.length >= mostExcerpts) continue
    silent.excerpts.push(hash)
    for (const session of sessions) {
      if (!reported.get(cause.key)?.has(session[1])) silent.sessions.add(JSON.stringify(session))
    }
  }
  return new Map(
    [...found]
      .filter(([, { sessions }]) => sessions.size > 0)
      .map(([causeKey, { tool, excerpts, sessions }]) => [
        causeKey,
        { causeKey, tool, excerpts, sessions: sessions.size },
      ]),
  )
}

/** Of a masked text the longest stretch that stands so in every text it was made of: between masks and white space. */
export function longestWords(masked: string): string {
  const words = masked.split(/<[a-z]+>|\s+/)
  return words.reduce((longest, word) => (word.length > longest.length ? word : longest), '')
}
