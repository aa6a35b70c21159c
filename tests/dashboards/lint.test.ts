/** What makes a dashboard usable, checked on all of them without an engine. */
import { type Dashboard, dashboards, macroNames, type Panel } from '@agnes/grafana'
import { describe, expect, test } from 'vitest'
import { panelsOf, queriesOf } from './walk.ts'

test('uids and titles are unique, and uids are what Grafana takes', () => {
  for (const values of [dashboards.map(({ uid }) => uid), dashboards.map(({ title }) => title)]) {
    expect(values.length).toBe(new Set(values).size)
  }
  for (const { uid } of dashboards) expect(uid).toMatch(/^agnes-[a-z-]{1,34}$/)
})

describe.each(dashboards.map((dashboard) => [dashboard.title, dashboard] as const))('%s', (_title, dashboard) => {
  const panels = panelsOf(dashboard)

  test('says what it is for, is not for editing, and asks no more often than every minute', () => {
    expect(dashboard.description).toMatch(/\?$/)
    expect(dashboard.editable).toBe(false)
    expect(['', '1m', '5m']).toContain(dashboard.refresh)
    expect(dashboard.templating.list.slice(0, 2).map(({ name }) => name)).toEqual(['datasource', 'tenant'])
  })

  test('panels have a question, an explanation and a unit', () => {
    for (const { title, description, type, fieldConfig, targets } of panels) {
      expect(title).toMatch(/\?$/)
      expect(description.length, title).toBeGreaterThan(60)
      expect(description.length, title).toBeLessThan(400)
      if (type === 'alertlist') continue
      expect(fieldConfig?.defaults.unit, title).toBeTruthy()
      expect(fieldConfig?.defaults.thresholds?.steps[0]?.value, title).toBeNull()
      expect(targets?.length, title).toBeGreaterThan(0)
    }
    expect(new Set(panels.map(({ title }) => title)).size).toBe(panels.length)
  })

  test('panels have ids of their own, lie side by side and fill their lines', () => {
    const ids = dashboard.panels.flatMap((panel) => [
      panel.id,
      ...('panels' in panel ? panel.panels.map(({ id }) => id) : []),
    ])
    expect(new Set(ids).size).toBe(ids.length)
    for (const [i, { gridPos: a, title }] of panels.entries()) {
      expect(a.x + a.w, title).toBeLessThanOrEqual(24)
      for (const { gridPos: b, title: other } of panels.slice(i + 1)) {
        const apart = a.x + a.w <= b.x || b.x + b.w <= a.x || a.y + a.h <= b.y || b.y + b.h <= a.y
        expect(apart, `${title} and ${other}`).toBe(true)
      }
    }
    const used = new Map<number, number>()
    for (const { gridPos } of panels) used.set(gridPos.y, (used.get(gridPos.y) ?? 0) + gridPos.w)
    expect([...used.values()].filter((width) => width !== 24)).toEqual([])
  })

  test('queries name their data source by the variable, and only macros and variables that there are', () => {
    const variables = new Set(dashboard.templating.list.map(({ name }) => name))
    for (const panel of panels) {
      for (const target of panel.targets ?? []) expect(target.datasource.uid).toBe('${datasource}')
    }
    for (const { where, sql } of queriesOf(dashboard)) {
      for (const [, name = ''] of sql.matchAll(/\$__(\w+)/g)) {
        expect(name === 'conditionalAll' || macroNames.has(name), `${where}: $__${name}`).toBe(true)
      }
      for (const [found, name = '', format] of sql.matchAll(/\$\{(\w+)(:\w+)?\}/g)) {
        expect(variables.has(name), `${where}: ${found}`).toBe(true)
        expect(format === ':singlequote' || format === ':percentencode', `${where}: ${found} is not escaped`).toBe(true)
      }
      // Throws on words with blanks in them, and the other one on a variable that is set to all.
      expect(sql, where).not.toMatch(/hasToken\(/)
      expect(sql, where).not.toMatch(/\$(?!__|\{)[a-z]\w*(?!\))\b(?!\))/)
      expect(sql, where).not.toMatch(/;\s*$/)
    }
  })

  test('a query asks for one tenant and one time range first', () => {
    for (const { where, sql } of queriesOf(dashboard)) {
      // One lists the tenants; disks belong to all of them.
      if (where.endsWith('variable tenant') || sql.includes('FROM system.disks')) continue
      expect(sql, where).toMatch(/[tT]enant(Id)? = \$\{tenant:singlequote\}/)
      expect(sql, where).toMatch(/\$__(timeFilter_ms|dateFilter|toTime)/)
    }
  })

  test('links lead to dashboards and variables that there are, and fields that the query has', () => {
    for (const { title, url } of linksOf(panels)) {
      const target = /^\/d\/([\w-]+)\?(.*)$/.exec(url)
      if (target === null) {
        expect(url, title).toMatch(/^\$\{inbox:raw\}\/admin\/(activity|sessions|feedback)\//)
        continue
      }
      const other = dashboards.find(({ uid }) => uid === target[1])
      expect(other, `${title}: ${url}`).toBeDefined()
      expect(url).toContain('${__url_time_range}&${datasource:queryparam}&${tenant:queryparam}')
      for (const [, name] of (target[2] ?? '').matchAll(/var-(\w+)=/g)) {
        expect(
          other?.templating.list.map((variable) => variable.name),
          `${title}: ${url}`,
        ).toContain(name)
      }
    }
    for (const panel of panels) {
      for (const { url } of linksOf([panel])) {
        for (const [, name = ''] of url.matchAll(/__data\.fields\["([^"]+)"\]/g)) {
          const named = panel.targets?.some(({ rawSql }) => new RegExp(`\\b${name}\\b`).test(rawSql))
          expect(named, `${panel.title}: ${name}`).toBe(true)
        }
      }
    }
  })

  test('every dashboard but the home page leads back to it', () => {
    expect(dashboard.links.some(({ type }) => type === 'dashboards')).toBe(true)
    expect(dashboard.links.some(({ url }) => url === '/d/agnes-home')).toBe(dashboard.uid !== 'agnes-home')
    for (const { includeVars, keepTime } of dashboard.links) expect([includeVars, keepTime]).toEqual([true, true])
  })
})

function linksOf(panels: readonly Panel[]): { title: string; url: string }[] {
  return panels.flatMap(({ fieldConfig }) => [
    ...(fieldConfig?.defaults.links ?? []),
    ...(fieldConfig?.overrides ?? []).flatMap(({ properties }) =>
      properties.flatMap(({ id, value }) => (id === 'links' ? (value as { title: string; url: string }[]) : [])),
    ),
  ])
}

test('the home page asks little: no more than five queries when it is opened', () => {
  const home = dashboards.find(({ uid }) => uid === 'agnes-home') as Dashboard
  expect(panelsOf(home).flatMap(({ targets = [] }) => targets).length).toBeLessThanOrEqual(5)
})
