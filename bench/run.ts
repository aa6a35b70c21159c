/** `npm run bench [transcode|gateway|collector|neighbours|ingest|query|inbox|dashboards|scan|sessions|report|up …]`: all of them without arguments. */
import { benchCollector } from './collector.ts'
import { benchDashboards } from './dashboards.ts'
import { benchGateway } from './gateway.ts'
import { benchInbox } from './inbox.ts'
import { benchIngest } from './ingest.ts'
import { benchNeighbours } from './neighbours.ts'
import { benchQuery } from './query.ts'
import { benchReportCommand } from './report-command.ts'
import { benchScan } from './scan.ts'
import { benchSessions } from './sessions.ts'
import { benchTranscode } from './transcode.ts'
import { benchUp } from './up.ts'

const benches: Readonly<Record<string, () => void | Promise<void>>> = {
  transcode: benchTranscode,
  gateway: benchGateway,
  collector: benchCollector,
  neighbours: benchNeighbours,
  ingest: benchIngest,
  query: benchQuery,
  scan: benchScan,
  inbox: benchInbox,
  report: benchReportCommand,
  sessions: benchSessions,
  dashboards: benchDashboards,
  up: benchUp,
}

const names = process.argv.slice(2)
const unknown = names.find((name) => !Object.hasOwn(benches, name))
if (unknown !== undefined) {
  console.error(`bench: there is no bench "${unknown}": choose from ${Object.keys(benches).join(', ')}`)
  process.exitCode = 2
} else {
  for (const name of names.length === 0 ? Object.keys(benches) : names) await benches[name]?.()
}
