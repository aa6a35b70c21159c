/**
 * Panels, one function a kind. Each takes what differs (question, where the numbers come from, query, unit, thresholds)
 * and gives the rest the look that all dashboards share.
 */
import type { FieldDefaults, Link, Mapping, Override, Panel, Target, Threshold } from './grafana.ts'
import { datasource } from './query.ts'

/** What a panel is before a dashboard gives it its id and place. */
export type PanelDraft = Omit<Panel, 'id' | 'gridPos'> & {
  /** In columns of 24. */
  readonly width: number
}

export interface PanelOptions {
  /** The question it answers. */
  readonly title: string
  /** Where the numbers come from, and what to do when it is red. */
  readonly description: string
  readonly query: Target | readonly Target[]
  /** In columns of 24. */
  readonly width: number
  readonly unit: string
  readonly decimals?: number
  readonly min?: number
  readonly max?: number
  /** From low to high, `red` … `green`; the first has the value null. */
  readonly thresholds?: readonly Threshold[]
  readonly mappings?: readonly Mapping[]
  /** Units, colours, widths and links of single columns. */
  readonly overrides?: readonly Override[]
  /** Where a click on a value leads. */
  readonly links?: readonly Link[]
  readonly noValue?: string
  /** Least width of an interval, e.g. `15m`. */
  readonly interval?: string
  readonly maxDataPoints?: number
}

export interface SeriesOptions extends PanelOptions {
  readonly style?: 'bars' | 'lines'
  /** Parts of a whole are stacked, others never. */
  readonly stacked?: boolean
}

/** Values over time. */
export function timeseries(options: SeriesOptions): PanelDraft {
  const bars = (options.style ?? 'lines') === 'bars'
  return draft('timeseries', options, {
    fieldConfig: {
      color: { mode: 'palette-classic' },
      custom: {
        drawStyle: bars ? 'bars' : 'line',
        fillOpacity: bars ? 70 : 8,
        lineWidth: bars ? 0 : 2,
        pointSize: 4,
        showPoints: bars ? 'never' : 'auto',
        // Gaps are gaps: an hour in which nothing was measured is not a straight line.
        spanNulls: false,
        stacking: { mode: options.stacked === true ? 'normal' : 'none', group: 'A' },
        axisSoftMin: 0,
        thresholdsStyle: { mode: options.thresholds === undefined ? 'off' : 'dashed' },
      },
    },
    options: {
      legend: { showLegend: true, displayMode: 'list', placement: 'bottom', calcs: [] },
      tooltip: { mode: 'multi', sort: 'desc' },
    },
    maxDataPoints: options.maxDataPoints ?? (bars ? 60 : 120),
  })
}

/** Single values, in the colour of their threshold, with the way they took behind them. */
export function stat(options: PanelOptions & { readonly sparkline?: boolean; readonly texts?: boolean }): PanelDraft {
  return draft('stat', options, {
    fieldConfig: { color: { mode: 'thresholds' } },
    options: {
      reduceOptions: { values: false, calcs: ['lastNotNull'], fields: options.texts === true ? '/.*/' : '' },
      orientation: 'auto',
      textMode: 'value_and_name',
      wideLayout: true,
      colorMode: options.thresholds === undefined && options.texts !== true ? 'none' : 'background',
      graphMode: options.sparkline === true ? 'area' : 'none',
      justifyMode: 'auto',
      showPercentChange: false,
      percentChangeColorMode: 'standard',
    },
    ...(options.sparkline === true ? { maxDataPoints: options.maxDataPoints ?? 60 } : {}),
  })
}

/** Rows of a table; columns get unit, colour and links by overrides. */
export function table(options: PanelOptions): PanelDraft {
  return draft('table', options, {
    fieldConfig: {
      custom: { align: 'auto', cellOptions: { type: 'auto' }, filterable: true, inspect: true },
    },
    options: { showHeader: true, cellHeight: 'sm', enablePagination: true },
  })
}

/** The largest of several, as horizontal bars. One row each: a name and a number. */
export function ranking(options: PanelOptions): PanelDraft {
  return draft('bargauge', options, {
    fieldConfig: { color: { mode: options.thresholds === undefined ? 'continuous-BlPu' : 'thresholds' } },
    options: {
      reduceOptions: { values: true, calcs: [], fields: '', limit: 12 },
      orientation: 'horizontal',
      displayMode: 'gradient',
      valueMode: 'text',
      namePlacement: 'left',
      showUnfilled: true,
      sizing: 'auto',
      minVizWidth: 8,
      minVizHeight: 16,
      maxVizHeight: 28,
      legend: { showLegend: false, displayMode: 'list', placement: 'bottom', calcs: [] },
    },
  })
}

/** One line a thing, coloured by its state at each time. */
export function states(options: PanelOptions): PanelDraft {
  return draft('state-timeline', options, {
    fieldConfig: { color: { mode: 'thresholds' }, custom: { fillOpacity: 80, lineWidth: 0 } },
    options: {
      showValue: 'never',
      rowHeight: 0.85,
      mergeValues: true,
      alignValue: 'left',
      legend: { showLegend: true, displayMode: 'list', placement: 'bottom', calcs: [] },
      tooltip: { mode: 'single', sort: 'none' },
    },
    maxDataPoints: options.maxDataPoints ?? 100,
  })
}

/** One cell a thing and interval. */
export function grid(options: PanelOptions): PanelDraft {
  return draft('status-history', options, {
    fieldConfig: { color: { mode: 'thresholds' }, custom: { fillOpacity: 80, lineWidth: 1 } },
    options: {
      showValue: 'never',
      rowHeight: 0.85,
      colWidth: 0.9,
      legend: { showLegend: true, displayMode: 'list', placement: 'bottom', calcs: [] },
      tooltip: { mode: 'single', sort: 'none' },
    },
    maxDataPoints: options.maxDataPoints ?? 60,
  })
}

/** What Grafana's alerting says at this moment. */
export function alerts(options: Pick<PanelOptions, 'title' | 'description' | 'width'>): PanelDraft {
  return {
    type: 'alertlist',
    title: options.title,
    description: options.description,
    width: options.width,
    options: {
      alertName: '',
      dashboardAlerts: false,
      groupBy: [],
      groupMode: 'default',
      maxItems: 20,
      sortOrder: 3,
      viewMode: 'list',
      stateFilter: { firing: true, pending: true, noData: true, error: true, normal: false, recovering: true },
    },
  }
}

interface Kind {
  readonly fieldConfig: FieldDefaults
  readonly options: Readonly<Record<string, unknown>>
  readonly maxDataPoints?: number
}

function draft(type: string, options: PanelOptions, kind: Kind): PanelDraft {
  const { title, description, query, width, unit, thresholds, overrides = [], interval } = options
  const maxDataPoints = options.maxDataPoints ?? kind.maxDataPoints
  return {
    type,
    title,
    description,
    width,
    datasource,
    targets: 'rawSql' in query ? [query] : query,
    fieldConfig: {
      defaults: {
        ...kind.fieldConfig,
        unit,
        ...(options.decimals !== undefined && { decimals: options.decimals }),
        ...(options.min !== undefined && { min: options.min }),
        ...(options.max !== undefined && { max: options.max }),
        ...(options.noValue !== undefined && { noValue: options.noValue }),
        ...(options.mappings !== undefined && { mappings: options.mappings }),
        ...(options.links !== undefined && { links: options.links }),
        thresholds: { mode: 'absolute', steps: thresholds ?? [{ color: 'text', value: null }] },
      },
      overrides,
    },
    options: kind.options,
    ...(interval !== undefined && { interval }),
    ...(maxDataPoints !== undefined && { maxDataPoints }),
  }
}

/** Properties of one column. */
export function column(name: string, properties: Readonly<Record<string, unknown>>): Override {
  return {
    matcher: { id: 'byName', options: name },
    properties: Object.entries(properties).map(([id, value]) => ({ id, value })),
  }
}

/** A column that links need and people do not. */
export function hidden(name: string): Override {
  return column(name, { 'custom.hideFrom': { viz: true, legend: true, tooltip: true }, 'custom.hidden': true })
}

/** Colours of results, the same everywhere. */
export const resultColors: readonly Override[] = Object.entries({
  success: 'green',
  error: 'red',
  denied: 'orange',
  other: 'purple',
  none: 'gray',
}).map(([name, fixedColor]) => column(name, { color: { mode: 'fixed', fixedColor } }))

/** The result as a coloured cell. */
export function resultColumn(name: string): Override {
  return column(name, {
    'custom.cellOptions': { type: 'color-text' },
    'custom.width': 90,
    mappings: [
      {
        type: 'value',
        options: {
          success: { color: 'green', index: 0 },
          ok: { color: 'green', index: 1 },
          error: { color: 'red', index: 2 },
          failed: { color: 'red', index: 3 },
          denied: { color: 'orange', index: 4 },
          skipped: { color: 'blue', index: 5 },
        },
      },
    ],
  })
}

/** Green below, yellow from, red from. */
export function higherIsWorse(yellow: number, red: number): readonly Threshold[] {
  return [
    { color: 'green', value: null },
    { color: 'yellow', value: yellow },
    { color: 'red', value: red },
  ]
}

/** Red below, yellow from, green from. */
export function lowerIsWorse(yellow: number, green: number): readonly Threshold[] {
  return [
    { color: 'red', value: null },
    { color: 'yellow', value: yellow },
    { color: 'green', value: green },
  ]
}
