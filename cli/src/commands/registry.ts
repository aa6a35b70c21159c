/** The commands in the order of `agnes --help`. Adding one: a file beside this one, and a line here. */
import type { Command } from 'commander'
import { registerActivity } from './activity.ts'
import { registerAlerts } from './alerts.ts'
import { registerBackup } from './backup.ts'
import { registerCompletion } from './completion.ts'
import { registerDemo } from './demo.ts'
import { registerDoctor } from './doctor.ts'
import { registerEngine } from './engine.ts'
import { registerGateway } from './gateway.ts'
import { registerGrafana } from './grafana.ts'
import { registerHealth } from './health.ts'
import { registerInbox } from './inbox.ts'
import { registerKeys } from './keys.ts'
import { registerMigrate } from './migrate.ts'
import { registerProcessors } from './processors.ts'
import { registerPush } from './push.ts'
import { registerReport } from './report.ts'
import { registerRestore } from './restore.ts'
import { registerRunProcessor } from './run-processor.ts'
import { registerSessions } from './sessions.ts'
import { registerSpool } from './spool.ts'
import { registerSql } from './sql.ts'
import { registerTelegram } from './telegram.ts'
import { registerTenants } from './tenants.ts'
import { registerUp } from './up.ts'

export const commands: readonly ((program: Command) => void)[] = [
  registerUp,
  registerHealth,
  registerActivity,
  registerAlerts,
  registerSessions,
  registerSql,
  registerReport,
  registerPush,
  registerDemo,
  registerKeys,
  registerTenants,
  registerTelegram,
  registerGrafana,
  registerDoctor,
  registerSpool,
  registerBackup,
  registerRestore,
  registerEngine,
  registerGateway,
  registerProcessors,
  registerRunProcessor,
  registerInbox,
  registerMigrate,
  registerCompletion,
]
