/** Every dashboard, from general to specific. Adding one: a file beside this one, and a line here. */
import type { Dashboard } from '../model/grafana.ts'
import { home } from './home.ts'
import { pipeline } from './pipeline.ts'
import { sync } from './sync.ts'
import { timeline } from './timeline.ts'
import { usage } from './usage.ts'

export const dashboards: readonly Dashboard[] = [home, timeline, sync, usage, pipeline]
