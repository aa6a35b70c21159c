/**
 * Dashboards as pictures without Grafana: their panels, laid out, coloured and filled as their JSON says, from a running
 * instance, as one HTML page each. It knows the panel types and options that our dashboards use.
 *
 *   node scripts/preview-dashboards.mjs http://127.0.0.1:8123/agnes out/ [now as ISO 8601]
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { createAgnesClient } from '@agnes/clickhouse'
import { dashboards, expandMacros, interpolate } from '@agnes/grafana'

const [url, out, nowText] = process.argv.slice(2)
if (url === undefined || out === undefined) {
  console.error('usage: node scripts/preview-dashboards.mjs <ClickHouse URL> <directory> [now]')
  process.exit(2)
}
const now = nowText === undefined ? new Date() : new Date(nowText)
const [unit, gap, pageWidth] = [30, 8, 1560]
const palette = [
  '#73bf69',
  '#f2cc0c',
  '#8ab8ff',
  '#ff780a',
  '#f2495c',
  '#5794f2',
  '#b877d9',
  '#705da0',
  '#37872d',
  '#fade2a',
  '#447ebc',
  '#c15c17',
]
const named = {
  green: '#56a64b',
  red: '#e02f44',
  yellow: '#e0b400',
  orange: '#ff780a',
  blue: '#5794f2',
  purple: '#a352cc',
  gray: '#5a5f68',
  text: '#ccccdc',
  transparent: 'transparent',
}

const client = createAgnesClient({ url })
mkdirSync(out, { recursive: true })
for (const dashboard of dashboards) {
  const page = await pageOf(dashboard)
  writeFileSync(path.join(out, `${dashboard.uid}.html`), page)
  console.log(path.join(out, `${dashboard.uid}.html`))
}
await client.close()

async function pageOf(dashboard) {
  const panels = dashboard.panels.flatMap((panel) => ('panels' in panel ? [panel, ...panel.panels] : [panel]))
  const boxes = []
  let bottom = 0
  for (const panel of panels) {
    const { x, y, w, h } = panel.gridPos
    bottom = Math.max(bottom, y + h)
    const column = (pageWidth - gap) / 24
    const size = { width: w * column - gap, height: h * (unit + gap) - gap }
    const style = `left:${gap + x * column}px;top:${y * (unit + gap)}px;width:${size.width}px;height:${size.height}px`
    if (panel.type === 'row') boxes.push(`<h2 style="${style}">⌄ ${html(panel.title)}</h2>`)
    else
      boxes.push(
        `<section style="${style}"><h3>${html(panel.title)}</h3><div class="body">${await bodyOf(dashboard, panel, size)}</div></section>`,
      )
  }
  const variables = dashboard.templating.list
    .filter(({ hide }) => hide === 0)
    .map(
      ({ label, current }) =>
        `<span class="variable"><b>${html(label)}</b> ${html([current?.text ?? 'Agnes'].flat().join(', '))}</span>`,
    )
  return `<!doctype html><meta charset="utf-8"><title>${html(dashboard.title)}</title><style>
body{margin:0;background:#111217;color:#ccccdc;font:13px Inter,Roboto,"DejaVu Sans",sans-serif;width:${pageWidth}px}
header{padding:12px 16px;display:flex;gap:14px;align-items:center}h1{font-size:19px;margin:0 12px 0 0;font-weight:500}
.variable{background:#1c1e24;border:1px solid #2d2f36;border-radius:3px;padding:4px 8px}.variable b{color:#6e9fff;font-weight:500}
main{position:relative;height:${bottom * (unit + gap) + gap}px}section{position:absolute;background:#181b1f;border:1px solid #25272d;border-radius:3px;overflow:hidden;box-sizing:border-box}
h2{position:absolute;margin:0;font-size:15px;font-weight:500;line-height:${unit}px}h3{margin:0;padding:7px 10px 4px;font-size:13px;font-weight:500}.body{position:absolute;inset:30px 8px 6px 8px;overflow:hidden}
table{border-collapse:collapse;width:100%}th{text-align:left;color:#8e8e9c;font-weight:500;border-bottom:1px solid #2d2f36;padding:3px 8px;white-space:nowrap}td{padding:3px 8px;border-bottom:1px solid #212329;max-width:380px;overflow:hidden;text-overflow:ellipsis;white-space:nowrap}td.wrap{white-space:pre-line}td.number{text-align:right}td.link{color:#6e9fff}
.tiles{display:flex;gap:6px;height:100%}.tile{flex:1;border-radius:3px;padding:6px 12px;position:relative;overflow:hidden;display:flex;flex-direction:column;justify-content:center;min-width:0}.tile .name{font-size:12px;opacity:.9}.tile .value{font-weight:600;line-height:1.15;overflow-wrap:break-word}
.bar{display:grid;grid-template-columns:38% 1fr 90px;gap:8px;align-items:center;margin:4px 0}.bar .track{background:#22252b;height:16px}.bar .fill{height:16px}.bar .label{overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.legend{position:absolute;bottom:0;left:4px;font-size:11px;color:#a5a5b4;white-space:nowrap}.legend i{display:inline-block;width:12px;height:4px;margin:0 5px 2px 10px}.none{display:flex;height:100%;align-items:center;justify-content:center;color:#8e8e9c}
</style><header><h1>${html(dashboard.title)}</h1>${variables.join('')}<span class="variable">${html(dashboard.time.from)} to now</span></header><main>${boxes.join('\n')}</main>`
}

async function bodyOf(dashboard, panel, size) {
  if (panel.targets === undefined) return '<div class="none">asked of Grafana itself</div>'
  const { columns, rows } = await answer(dashboard, panel)
  if (rows.length === 0) return `<div class="none">${html(panel.fieldConfig.defaults.noValue ?? 'No data')}</div>`
  const fields = columns.filter(({ name }) => setting(panel, name, 'custom.hideFrom') === undefined)
  const view = { panel, fields, rows, width: size.width - 18, height: size.height - 38 }
  const draw = {
    stat: tiles,
    table: tableOf,
    bargauge: bars,
    timeseries: graph,
    'state-timeline': states,
    'status-history': states,
  }[panel.type]
  return draw === undefined ? `<div class="none">${panel.type}</div>` : draw(view)
}

async function answer(dashboard, panel) {
  const days = Number(/now-(\d+)d/.exec(dashboard.time.from)?.[1] ?? 0)
  const hours = Number(/now-(\d+)h/.exec(dashboard.time.from)?.[1] ?? 0)
  const from = new Date(now.getTime() - (days * 24 + hours) * 3_600_000)
  const least = { '15m': 900, '30m': 1800, '1h': 3600, '1d': 86_400 }[panel.interval] ?? 1
  const wanted = (now - from) / 1000 / (panel.maxDataPoints ?? 100)
  const steps = [60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400]
  const seconds = Math.max(least, steps.find((step) => step >= wanted * 0.75) ?? 86_400)
  const values = Object.fromEntries(dashboard.templating.list.map(({ name, current }) => [name, current?.value ?? '']))
  const query = expandMacros(interpolate(panel.targets[0].rawSql, values), {
    from,
    to: now,
    intervalMs: seconds * 1000,
  })
  const result = await client.query({
    query,
    format: 'JSONCompact',
    clickhouse_settings: { output_format_json_quote_64bit_integers: 0 },
  })
  const { meta, data } = await result.json()
  return { columns: meta.map(({ name, type }, index) => ({ name, index, type, kind: kindOf(type) })), rows: data }
}

function kindOf(type) {
  return /Date/.test(type) ? 'time' : /String/.test(type) ? 'text' : 'number'
}

/** What an override says of a column. */
function setting(panel, name, id) {
  const override = panel.fieldConfig.overrides.findLast(
    ({ matcher, properties }) => matcher.options === name && properties.some((one) => one.id === id),
  )
  return override?.properties.find((one) => one.id === id)?.value
}

function option(panel, name, id) {
  return setting(panel, name, id) ?? panel.fieldConfig.defaults[id]
}

function mapped(panel, name, value) {
  for (const { type, options } of option(panel, name, 'mappings') ?? []) {
    if (type === 'value' && Object.hasOwn(options, String(value)))
      return { text: String(value), ...options[String(value)] }
    const found = type === 'regex' ? new RegExp(options.pattern).exec(String(value)) : null
    if (found !== null) return { ...options.result, text: options.result.text.replace('$1', found[1]) }
  }
  return undefined
}

function shown(panel, name, value) {
  const map = mapped(panel, name, value)
  if (map !== undefined) return map.text
  if (value === null) return setting(panel, name, 'noValue') ?? '–'
  return typeof value === 'number'
    ? inUnit(value, option(panel, name, 'unit'), option(panel, name, 'decimals'))
    : String(value)
}

function inUnit(value, unit, decimals) {
  const fixed = (number, suffix) =>
    `${Number(number.toFixed(decimals ?? (Math.abs(number) < 10 ? 2 : Math.abs(number) < 100 ? 1 : 0))).toLocaleString('en-US')}${suffix}`
  const scaled = (steps) => {
    const [size, name] = steps.findLast(([from]) => Math.abs(value) >= from) ?? steps[0]
    return fixed(value / size, name)
  }
  if (unit === 'percentunit') return fixed(value * 100, '%')
  if (unit === 'currencyUSD') return `$${fixed(value, '')}`
  if (unit === 's')
    return scaled([
      [1, ' s'],
      [60, ' min'],
      [3600, ' hours'],
      [86_400, ' days'],
    ])
  if (unit === 'ms')
    return scaled([
      [1, ' ms'],
      [1000, ' s'],
      [60_000, ' min'],
    ])
  if (unit === 'm') return `${value} min`
  if (unit === 'short')
    return scaled([
      [1, ''],
      [1000, ' K'],
      [1e6, ' Mil'],
    ])
  return Number(value.toPrecision(6)).toLocaleString('en-US')
}

function colorOf(panel, name, value, index = 0) {
  const map = mapped(panel, name, value)
  if (map?.color !== undefined) return named[map.color] ?? map.color
  const color = option(panel, name, 'color')
  if (color?.mode === 'fixed') return named[color.fixedColor] ?? color.fixedColor
  if (color?.mode === 'palette-classic') return palette[index % palette.length]
  const steps = option(panel, name, 'thresholds')?.steps ?? []
  const step = steps.findLast(({ value: from }) => from === null || Number(value) >= from)
  return named[step?.color] ?? palette[index % palette.length]
}

function tiles({ panel, fields, rows, height }) {
  const row = rows.at(-1)
  return `<div class="tiles">${fields
    .map(({ name, index }) => {
      const text = shown(panel, name, row[index])
      const background = panel.options.colorMode === 'background' ? colorOf(panel, name, row[index]) : 'transparent'
      const size = Math.min(height * 0.42, text.length > 12 ? 19 : 30)
      return `<div class="tile" style="background:${background}"><div class="name">${html(fields.length > 1 ? name : '')}</div><div class="value" style="font-size:${size}px">${html(text)}</div></div>`
    })
    .join('')}</div>`
}

function tableOf({ panel, fields, rows, height }) {
  const head = fields.map(({ name }) => `<th>${html(setting(panel, name, 'displayName') ?? name)}</th>`).join('')
  const most = Object.fromEntries(
    fields.map(({ name, index }) => [name, Math.max(...rows.map((row) => Number(row[index]) || 0))]),
  )
  const body = rows.slice(0, Math.ceil(height / 24)).map((row) => {
    const cells = fields.map(({ name, index, kind }) => {
      const value = row[index]
      const cell = setting(panel, name, 'custom.cellOptions')
      const scale = String(option(panel, name, 'color')?.mode ?? '').startsWith('continuous')
      const share = Number(value) / (option(panel, name, 'max') ?? (most[name] || 1))
      const hue = option(panel, name, 'color')?.mode === 'continuous-RdYlGr' ? share * 110 : 110 - share * 110
      const color = scale ? `hsl(${hue} 55% 38%)` : colorOf(panel, name, value)
      const style =
        value === null
          ? ''
          : cell?.type === 'color-background'
            ? `background:${color};color:#fff`
            : cell?.type === 'color-text'
              ? `color:${color}`
              : ''
      const link = setting(panel, name, 'links') ? 'link' : ''
      return `<td class="${kind === 'number' ? 'number' : ''} ${link} ${cell?.wrapText ? 'wrap' : ''}" style="${style}">${html(kind === 'time' ? String(value).slice(0, 19) : shown(panel, name, value))}</td>`
    })
    return `<tr>${cells.join('')}</tr>`
  })
  return `<table><tr>${head}</tr>${body.join('')}</table>`
}

function bars({ panel, fields, rows }) {
  const label = fields.find(({ kind }) => kind === 'text')
  const value = fields.find(({ kind }) => kind === 'number')
  const most = option(panel, value.name, 'max') ?? Math.max(...rows.map((row) => row[value.index]))
  return rows
    .map((row) => {
      const share = row[value.index] / (most || 1)
      const color =
        panel.fieldConfig.defaults.color.mode === 'thresholds'
          ? colorOf(panel, value.name, row[value.index])
          : `hsl(${220 + share * 60} 60% 58%)`
      return `<div class="bar"><span class="label">${html(row[label.index])}</span><span class="track"><span class="fill" style="display:block;width:${share * 100}%;background:${color}"></span></span><span>${shown(panel, value.name, row[value.index])}</span></div>`
    })
    .join('')
}

/** From rows to lines: one for each set of labels and column of numbers. */
function seriesOf({ fields, rows }) {
  const time = fields.find(({ kind }) => kind === 'time')
  const labels = fields.filter(({ kind }) => kind === 'text')
  const lines = new Map()
  for (const row of rows) {
    const at = Date.parse(`${row[time.index].replace(' ', 'T')}Z`)
    for (const { name, index } of fields.filter(({ kind }) => kind === 'number')) {
      const key = [...labels.map((label) => row[label.index]), ...(name === 'Value' ? [] : [name])].join(' ')
      if (!lines.has(key)) lines.set(key, [])
      lines.get(key).push([at, row[index]])
    }
  }
  return [...lines].map(([name, points]) => ({ name, points }))
}

function spanOf(lines) {
  const times = [...new Set(lines.flatMap(({ points }) => points.map(([at]) => at)))].sort((a, b) => a - b)
  const step = Math.min(...times.slice(1).map((at, i) => at - times[i]), 86_400_000)
  return { times, first: times[0], last: times.at(-1) + step, step }
}

function graph(view) {
  const { panel, width, height } = view
  const lines = seriesOf(view)
  const { first, last, step, times } = spanOf(lines)
  const [left, bottom, plotWidth] = [52, 40, width - 60]
  const plotHeight = height - bottom
  const custom = panel.fieldConfig.defaults.custom
  const stacked = custom.stacking.mode === 'normal'
  const sums = new Map(times.map((at) => [at, 0]))
  if (stacked)
    for (const { points } of lines) for (const [at, value] of points) sums.set(at, sums.get(at) + (value ?? 0))
  const top =
    (stacked
      ? Math.max(...sums.values())
      : Math.max(...lines.flatMap(({ points }) => points.map(([, value]) => value ?? 0)))) * 1.08 || 1
  const x = (at) => left + ((at - first) / (last - first)) * plotWidth
  const y = (value) => plotHeight - (value / top) * (plotHeight - 8)
  const color = (name, i) => (setting(panel, name, 'color') ? colorOf(panel, name, 0) : palette[i % palette.length])
  const shapes = []
  for (const share of [0, 0.25, 0.5, 0.75, 1]) {
    const value = (top / 1.08) * share
    shapes.push(
      `<line x1="${left}" x2="${width}" y1="${y(value)}" y2="${y(value)}" stroke="#26282e"/><text x="${left - 6}" y="${y(value) + 4}" text-anchor="end">${inUnit(value, panel.fieldConfig.defaults.unit)}</text>`,
    )
  }
  for (let i = 0; i <= 6; i++) {
    const at = first + ((last - first) * i) / 6
    const iso = new Date(at).toISOString()
    shapes.push(
      `<text x="${x(at)}" y="${plotHeight + 15}" text-anchor="middle">${last - first > 2 * 86_400_000 ? iso.slice(5, 10) : iso.slice(11, 16)}</text>`,
    )
  }
  const base = new Map(times.map((at) => [at, 0]))
  for (const [i, { name, points }] of lines.entries()) {
    if (custom.drawStyle === 'bars') {
      const bar = (x(first + step) - x(first)) * 0.85
      for (const [at, value] of points) {
        const from = stacked ? base.get(at) : 0
        shapes.push(
          `<rect x="${x(at)}" width="${Math.max(1, bar)}" y="${y(from + value)}" height="${Math.max(0, y(from) - y(from + value))}" fill="${color(name, i)}" fill-opacity=".85"/>`,
        )
        base.set(at, from + value)
      }
    } else {
      const path = points
        .filter(([, value]) => value !== null)
        .map(([at, value], n) => `${n === 0 ? 'M' : 'L'}${x(at).toFixed(1)} ${y(value).toFixed(1)}`)
      shapes.push(`<path d="${path.join('')}" fill="none" stroke="${color(name, i)}" stroke-width="2"/>`)
    }
  }
  const legend = lines.map(
    ({ name }, i) => `<i style="background:${color(name, i)}"></i>${html(setting(panel, name, 'displayName') ?? name)}`,
  )
  return `<svg width="${width}" height="${height - 18}" font-size="11" fill="#8e8e9c">${shapes.join('')}</svg><div class="legend">${legend.join('')}</div>`
}

function states(view) {
  const { panel, width, height } = view
  const lines = seriesOf(view)
  const { first, last, step } = spanOf(lines)
  const left = 140
  const rowHeight = (height - 24) / lines.length
  const x = (at) => left + ((at - first) / (last - first)) * (width - left)
  const space = panel.type === 'status-history' ? 1 : 0
  const shapes = lines.flatMap(({ name, points }, i) => [
    `<text x="${left - 8}" y="${(i + 0.5) * rowHeight + 4}" text-anchor="end">${html(name.slice(0, 22))}</text>`,
    ...points.map(
      ([at, value]) =>
        `<rect x="${x(at)}" y="${i * rowHeight + 2}" width="${Math.max(1, x(at + step) - x(at) - space)}" height="${rowHeight - 4}" fill="${colorOf(panel, name, value)}" fill-opacity=".85"/>`,
    ),
  ])
  for (let i = 0; i < 7; i++) {
    const at = first + ((last - first) * (i + 0.3)) / 7
    shapes.push(
      `<text x="${x(at)}" y="${height - 6}" text-anchor="middle">${new Date(at).toISOString().slice(11, 16)}</text>`,
    )
  }
  return `<svg width="${width}" height="${height}" font-size="11" fill="#8e8e9c">${shapes.join('')}</svg>`
}

function html(text) {
  return String(text).replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;')
}
