/**
 * The parts of Grafana's classic dashboard JSON (schema version 42) that we write. Plain types of our own, so that the
 * room needs no library; a test compiles the generated JSON against Grafana's own types (`@grafana/schema`).
 */

export interface Reference {
  readonly type: string
  readonly uid: string
}

/** What the ClickHouse plugin's backend reads: `format` decides how rows become frames. */
export interface Target {
  readonly refId: string
  readonly datasource: Reference
  readonly pluginVersion: string
  readonly editorType: 'sql'
  readonly queryType: 'timeseries' | 'table' | 'logs' | 'traces'
  readonly format: 0 | 1 | 2 | 3
  readonly rawSql: string
}

export interface Threshold {
  readonly color: string
  /** From this value on; null for the first one. */
  readonly value: number | null
}

export type Mapping =
  | { readonly type: 'value'; readonly options: Readonly<Record<string, MappedTo>> }
  | { readonly type: 'regex'; readonly options: { readonly pattern: string; readonly result: MappedTo } }
  | {
      readonly type: 'range'
      readonly options: { readonly from: number | null; readonly to: number | null; readonly result: MappedTo }
    }
  | {
      readonly type: 'special'
      readonly options: { readonly match: 'null' | 'nan' | 'null+nan' | 'empty'; readonly result: MappedTo }
    }

export interface MappedTo {
  readonly text?: string
  readonly color?: string
  readonly index?: number
}

export interface Link {
  readonly title: string
  readonly url: string
  readonly targetBlank?: boolean
}

export interface FieldDefaults {
  readonly unit?: string
  readonly decimals?: number
  readonly min?: number
  readonly max?: number
  readonly noValue?: string
  readonly displayName?: string
  readonly color?: { readonly mode: string; readonly fixedColor?: string }
  readonly thresholds?: { readonly mode: 'absolute' | 'percentage'; readonly steps: readonly Threshold[] }
  readonly mappings?: readonly Mapping[]
  readonly links?: readonly Link[]
  readonly custom?: Readonly<Record<string, unknown>>
}

export interface Override {
  readonly matcher: { readonly id: 'byName' | 'byRegexp' | 'byType'; readonly options: string }
  readonly properties: readonly { readonly id: string; readonly value: unknown }[]
}

export interface GridPosition {
  readonly x: number
  readonly y: number
  readonly w: number
  readonly h: number
}

export interface Panel {
  readonly id: number
  readonly type: string
  readonly title: string
  readonly description: string
  readonly gridPos: GridPosition
  readonly datasource?: Reference
  readonly targets?: readonly Target[]
  readonly fieldConfig?: { readonly defaults: FieldDefaults; readonly overrides: readonly Override[] }
  readonly options: Readonly<Record<string, unknown>>
  readonly links?: readonly Link[]
  /** Least width of an interval, e.g. `15m`. */
  readonly interval?: string
  readonly maxDataPoints?: number
  readonly transformations?: readonly { readonly id: string; readonly options: unknown }[]
}

/** A heading that holds the panels below it. */
export interface Row {
  readonly id: number
  readonly type: 'row'
  readonly title: string
  readonly collapsed: boolean
  readonly gridPos: GridPosition
  readonly panels: readonly Panel[]
}

export interface VariableOption {
  readonly text: string | readonly string[]
  readonly value: string | readonly string[]
  readonly selected?: boolean
}

export interface Variable {
  readonly name: string
  readonly label: string
  readonly description?: string
  readonly type: 'datasource' | 'query' | 'custom' | 'textbox' | 'constant'
  readonly hide: 0 | 2
  readonly query?: string | { readonly refId: string; readonly queryType: 'sql'; readonly rawSql: string }
  readonly datasource?: Reference
  /** 1: when the dashboard is opened, 2: when its time range changes. */
  readonly refresh?: 1 | 2
  readonly sort?: number
  readonly multi?: boolean
  readonly includeAll?: boolean
  readonly current?: VariableOption
  readonly options?: readonly VariableOption[]
  readonly skipUrlSync?: boolean
}

export interface Annotation {
  readonly name: string
  readonly enable: boolean
  readonly hide: boolean
  readonly iconColor: string
  readonly datasource: Reference
  readonly target?: Target
  readonly builtIn?: number
  readonly type?: string
}

export interface DashboardLink {
  readonly title: string
  readonly type: 'dashboards' | 'link'
  readonly icon: string
  readonly tooltip: string
  readonly url?: string
  readonly tags: readonly string[]
  readonly asDropdown: boolean
  readonly targetBlank: boolean
  readonly includeVars: boolean
  readonly keepTime: boolean
}

export interface Dashboard {
  readonly uid: string
  readonly title: string
  readonly description: string
  readonly tags: readonly string[]
  readonly schemaVersion: 42
  readonly version: 1
  readonly editable: boolean
  readonly graphTooltip: 0 | 1 | 2
  readonly timezone: 'browser' | 'utc'
  readonly refresh: string
  readonly fiscalYearStartMonth: 0
  readonly time: { readonly from: string; readonly to: string }
  readonly timepicker: { readonly refresh_intervals: readonly string[] }
  readonly links: readonly DashboardLink[]
  readonly annotations: { readonly list: readonly Annotation[] }
  readonly templating: { readonly list: readonly Variable[] }
  readonly panels: readonly (Panel | Row)[]
}
