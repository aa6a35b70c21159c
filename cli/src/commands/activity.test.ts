import { csvLine, type TimelineRow } from '@agnes/clickhouse'
import { expect, test } from 'vitest'
import { displayWidth } from '../output/text.ts'
import { renderPage } from './activity.ts'

const row: TimelineRow = {
  id: '0190c0de-0000-7000-8000-000000000001',
  timestamp: '2026-11-21T10:00:00.123456789Z',
  receivedAt: '2026-11-21T10:00:01.000000000Z',
  eventName: 'agnes.audit',
  serviceName: 'agnes',
  userId: 'anna',
  action: 'query.local',
  resource: 'table:orders',
  result: 'success',
  resultClass: 'success',
  durationMs: 42,
  clientKind: 'cli',
  clientAddress: '10.20.0.7',
  correlationId: 'c-1',
  sessionId: 's-1',
  runId: '',
  summary: 'anna ran query.local on table:orders',
  message: '',
  params: '{"rows":3}',
  paramsBefore: '',
}
const failed: TimelineRow = {
  ...row,
  userId: '',
  clientKind: 'scheduler',
  action: '',
  eventName: 'agnes.sync',
  result: '',
  resultClass: 'none',
  durationMs: null,
  message: 'query timed out after 600 s',
}
const granted: TimelineRow = { ...row, params: '{"access":"read"}', paramsBefore: '{"access":"none"}' }
const hostile: TimelineRow = {
  ...row,
  userId: '\u001b[2J\u202eanna',
  action: '=1+1',
  message: `a\r\nb ${'東京'.repeat(200)}`,
  params: '\u009b31m',
}

test('the table says when, who, what and how it went', () => {
  expect(renderPage([row, failed, granted], 'table', csvLine, 100).split('\n')).toEqual([
    'time (UTC)           who        action       result   ms  what',
    '2026-11-21 10:00:00  anna       query.local  success  42  table:orders {"rows":3}',
    '2026-11-21 10:00:00  scheduler  agnes.sync   –            table:orders query timed out after 600 s',
    '2026-11-21 10:00:00  anna       query.local  success  42  table:orders {"access":"none"} → {"access…',
    '',
  ])
})

test('the table keeps to the width and to one line a row, whatever an event holds', () => {
  const lines = renderPage([row, hostile], 'table', csvLine, 80).split('\n')
  expect(lines).toHaveLength(4)
  for (const line of lines) expect(displayWidth(line)).toBeLessThanOrEqual(80)
  expect(lines.join('')).not.toMatch(/\p{Cc}|\p{Bidi_Control}/u)
})

test('JSON is one array, NDJSON one object a line; both hold every field as it is', () => {
  const rows = [row, failed, hostile]
  expect(JSON.parse(renderPage(rows, 'json', csvLine))).toEqual(rows)
  const lines = renderPage(rows, 'ndjson', csvLine).trimEnd().split('\n')
  expect(lines.map((line) => JSON.parse(line))).toEqual(rows)
  for (const text of [renderPage(rows, 'json', csvLine), renderPage(rows, 'ndjson', csvLine)]) {
    expect(text.replaceAll('\n', '')).not.toMatch(/\p{Cc}|\p{Bidi_Control}/u)
  }
})

test('CSV has titles, every field, and nothing that a spreadsheet runs', () => {
  const [titles = '', first = ''] = renderPage([row], 'csv', csvLine).split('\r\n')
  expect(titles.split(',').sort()).toEqual(Object.keys(row).sort())
  expect(first).toBe(
    '2026-11-21T10:00:00.123456789Z,2026-11-21T10:00:01.000000000Z,0190c0de-0000-7000-8000-000000000001,agnes.audit,' +
      'agnes,anna,query.local,table:orders,success,success,42,cli,10.20.0.7,c-1,s-1,,' +
      'anna ran query.local on table:orders,,"{""rows"":3}",',
  )
  expect(renderPage([hostile], 'csv', csvLine)).toContain(",'=1+1,")
})

test('an empty page is empty in every format, in the way of the format', () => {
  expect(renderPage([], 'table', csvLine)).toBe('')
  expect(renderPage([], 'json', csvLine)).toBe('[]\n')
  expect(renderPage([], 'ndjson', csvLine)).toBe('')
  expect(renderPage([], 'csv', csvLine)).toMatch(/^timestamp,.*\r\n$/)
})
