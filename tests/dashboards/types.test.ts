/**
 * The generated JSON, compiled against Grafana's own types: a misspelt or misplaced option is an error there, as it is a
 * literal. Enums of those types count as their values, since JSON has no enums.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { type Dashboard, dashboards } from '@agnes/grafana'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { panelsOf } from './walk.ts'

const root = path.join(import.meta.dirname, '..', '..')
let directory: string

beforeAll(() => {
  // Within the repository, so that types are found.
  directory = mkdtempSync(path.join(root, 'node_modules', '.dashboard-types-'))
})
afterAll(() => rmSync(directory, { recursive: true }))

/** Panel types we use, and the module of `@grafana/schema` that has their options and fields. */
const modules: Readonly<Record<string, readonly [folder: string, name: string, fields: string]>> = {
  bargauge: ['bargauge', 'BarGauge', 'unknown'],
  heatmap: ['heatmap', 'Heatmap', 'HeatmapFields.FieldConfig'],
  stat: ['stat', 'Stat', 'unknown'],
  'state-timeline': ['statetimeline', 'StateTimeline', 'StateTimelineFields.FieldConfig'],
  'status-history': ['statushistory', 'StatusHistory', 'StatusHistoryFields.FieldConfig'],
  table: ['table', 'Table', 'TableFields.FieldConfig'],
  timeseries: ['timeseries', 'TimeSeries', 'TimeSeriesFields.FieldConfig'],
}

const preamble = [
  "import type * as grafana from '@grafana/schema'",
  ...Object.values(modules).map(
    ([folder, name]) =>
      `import type * as ${name}Fields from '@grafana/schema/dist/esm/raw/composable/${folder}/panelcfg/x/${name}PanelCfg_types.gen'`,
  ),
  'type Plain<T> = T extends string ? `${T}` : T extends number ? (`${T}` extends `${infer N extends number}` ? N : T) : T extends object ? { [K in keyof T]: Plain<T[K]> } : T',
].join('\n')

function compile(source: string): string {
  const file = path.join(directory, 'dashboards.ts')
  writeFileSync(file, `${preamble}\n${source}`)
  try {
    execFileSync(
      process.execPath,
      [
        path.join(root, 'node_modules', 'typescript', 'bin', 'tsc'),
        '--ignoreConfig',
        '--noEmit',
        '--strict',
        '--types',
        '',
        '--skipLibCheck',
        '--module',
        'nodenext',
        '--target',
        'es2023',
        file,
      ],
      { encoding: 'utf8', stdio: 'pipe' },
    )
    return ''
  } catch (error) {
    return (error as { stdout: string }).stdout
  }
}

/** Dashboard without panels, then each panel with the options and fields of its type. */
function source(): string {
  return dashboards
    .flatMap((dashboard) => [
      `void (${JSON.stringify({ ...dashboard, annotations: withoutQueries(dashboard), panels: [] })} satisfies Plain<grafana.Dashboard>)`,
      ...panelsOf(dashboard).flatMap(({ options, fieldConfig, ...panel }) => {
        const [, name] = modules[panel.type] ?? []
        const fields = modules[panel.type]?.[2] ?? 'unknown'
        return [
          `void (${JSON.stringify(panel)} satisfies Plain<grafana.Panel>)`,
          ...(name === undefined
            ? []
            : [`void (${JSON.stringify(options)} satisfies Partial<Plain<${name}Fields.Options>>)`]),
          ...(fieldConfig === undefined
            ? []
            : [
                `void (${JSON.stringify({ defaults: { ...fieldConfig.defaults, custom: undefined }, overrides: fieldConfig.overrides })} satisfies Plain<grafana.FieldConfigSource>)`,
                ...(fields === 'unknown'
                  ? []
                  : [
                      `void (${JSON.stringify(fieldConfig.defaults.custom ?? {})} satisfies Partial<Plain<${fields}>>)`,
                    ]),
              ]),
        ]
      }),
    ])
    .join('\n')
}

/** What a query holds beyond its `refId` is the data source's own business. */
function withoutQueries({ annotations }: Dashboard) {
  return {
    list: annotations.list.map(({ target, ...annotation }) => ({ ...annotation, target: { refId: target?.refId } })),
  }
}

test('every dashboard is of the types that Grafana gives for it', () => {
  expect(compile(source())).toBe('')
})

test('a misspelt option is found', () => {
  const wrong = source().replaceAll('"graphTooltip"', '"graphToolTip"')
  expect(compile(wrong)).toMatch(/graphToolTip.* does not exist in type/)
})
