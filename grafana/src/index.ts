/** The only door of this room. */
export {
  type AlertOptions,
  type AlertRule,
  alertRules,
  breaches,
  type Condition,
  type Severity,
  summaryOf,
} from './alerts/rules.ts'
export { dashboards } from './dashboards/registry.ts'
export type { Annotation, Dashboard, Panel, Row, Target, Variable } from './model/grafana.ts'
export {
  composeFiles,
  dashboardsFolder,
  defaultFiles,
  type ProvisionedFile,
  type ProvisionOptions,
  provisioningFiles,
} from './provisioning/files.ts'
export { interpolate, type VariableValues } from './query/interpolate.ts'
export { expandMacros, macroNames, type TimeRange } from './query/macros.ts'
