/** The only door of this room. */
export { dashboards } from './dashboards/registry.ts'
export type { Annotation, Dashboard, Panel, Row, Target, Variable } from './model/grafana.ts'
export { defaultFiles, type ProvisionedFile } from './provisioning/files.ts'
export { interpolate, type VariableValues } from './query/interpolate.ts'
export { expandMacros, macroNames, type TimeRange } from './query/macros.ts'
