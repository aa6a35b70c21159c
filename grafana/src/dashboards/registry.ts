/** Every dashboard, from general to specific. Adding one: a file beside this one, and a line here. */
import type { Dashboard } from '../model/grafana.ts'
import { agentRuns } from './agents.ts'
import { changes } from './changes.ts'
import { claudeCode } from './claude-code.ts'
import { feedback } from './feedback.ts'
import { home } from './home.ts'
import { integrity } from './integrity.ts'
import { llm } from './llm.ts'
import { pipeline } from './pipeline.ts'
import { queries } from './queries.ts'
import { sessions } from './sessions.ts'
import { sync } from './sync.ts'
import { timeline } from './timeline.ts'
import { usage } from './usage.ts'

export const dashboards: readonly Dashboard[] = [
  home,
  timeline,
  sync,
  changes,
  sessions,
  feedback,
  agentRuns,
  llm,
  usage,
  queries,
  integrity,
  pipeline,
  claudeCode,
]
