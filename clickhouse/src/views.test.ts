/** The read-side rules: what the views make of events that carry nothing but their attributes. */
import { randomUUID } from 'node:crypto'
import { catalogue, effectiveClientKind, resultClass } from '@agnes/events'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startTestEngine, type TestEngine } from '../../tests/support/engine.ts'
import { insertEvents, type TestEvent } from '../../tests/support/events.ts'

let engine: TestEngine

beforeAll(async () => {
  engine = await startTestEngine()
})
afterAll(() => engine.stop())

const at = new Date('2026-11-20T10:00:00Z')

async function view<T>(name: string, tenant: string, columns = '*', order = 'timestamp'): Promise<T[]> {
  const result = await engine.client.query({
    query: `SELECT ${columns} FROM ${name} WHERE tenant = {tenant:String} ORDER BY ${order}`,
    query_params: { tenant },
    format: 'JSONEachRow',
  })
  return result.json<T>()
}

async function stored(events: readonly Omit<TestEvent, 'tenant' | 'at'>[]): Promise<string> {
  const tenant = randomUUID()
  await insertEvents(
    engine.client,
    events.map((event, i) => ({ ...event, tenant, at: new Date(at.getTime() + i) })),
  )
  return tenant
}

test('audit_log has the columns of the application, from the attributes', async () => {
  const tenant = await stored([
    {
      name: 'agnes.audit',
      attributes: {
        'log.record.uid': 'e-1',
        'user.id': 'anna',
        'agnes.action': 'resource_grants.create',
        'agnes.resource': 'table:orders',
        'agnes.params': '{"role":"reader"}',
        'agnes.params_before': '{"role":"none"}',
        'agnes.result': 'success',
        'agnes.duration_ms': '12',
        'agnes.client_kind': 'web',
        'client.address': '10.0.0.7',
        'agnes.correlation_id': 'c-1',
      },
    },
  ])
  expect(await view('audit_log', tenant)).toEqual([
    expect.objectContaining({
      id: 'e-1',
      user_id: 'anna',
      action: 'resource_grants.create',
      resource: 'table:orders',
      params: '{"role":"reader"}',
      params_before: '{"role":"none"}',
      result: 'success',
      duration_ms: 12,
      client_kind: 'web',
      correlation_id: 'c-1',
    }),
  ])
})

test('sync_history says what became of each table', async () => {
  const sync = (status: string, more: Record<string, string> = {}) => ({
    name: 'agnes.sync',
    attributes: { 'agnes.sync.table_id': 'orders', 'agnes.sync.status': status, ...more },
  })
  const tenant = await stored([
    sync('ok', { 'agnes.sync.rows': '1200', 'agnes.duration_ms': '340' }),
    sync('skipped'),
    sync('error', { 'agnes.sync.error': 'connection reset' }),
  ])
  expect(
    await view('sync_history', tenant, 'table_id, rows, duration_ms, status, outcome, error', 'synced_at'),
  ).toEqual([
    { table_id: 'orders', rows: 1200, duration_ms: 340, status: 'ok', outcome: 'ok', error: '' },
    { table_id: 'orders', rows: null, duration_ms: null, status: 'skipped', outcome: 'skipped', error: '' },
    {
      table_id: 'orders',
      rows: null,
      duration_ms: null,
      status: 'error',
      outcome: 'failed',
      error: 'connection reset',
    },
  ])
})

test('session_processor_runs, exceptions and llm_generations', async () => {
  const tenant = await stored([
    {
      name: 'agnes.session_processor',
      attributes: {
        'agnes.processor.name': 'verification',
        'agnes.session.file': 'anna/1.jsonl',
        'user.id': 'anna',
        'agnes.processor.items': '3',
        'agnes.processor.file_hash': 'abc',
      },
    },
    {
      name: 'agnes.exception',
      attributes: { 'exception.type': 'ValueError', 'exception.message': 'no such table', 'agnes.action': 'sync.run' },
    },
    {
      name: 'agnes.llm.generation',
      attributes: {
        'gen_ai.request.model': 'claude-sonnet-4-5',
        'gen_ai.usage.input_tokens': '100',
        'gen_ai.usage.output_tokens': '20',
        'agnes.cost_usd_micros': '600',
      },
    },
    {
      // As Claude Code sends it: the name in the body and in event.name, plain attribute names.
      name: '',
      scope: 'com.anthropic.claude_code.events',
      body: 'claude_code.api_request',
      attributes: { 'event.name': 'api_request', model: 'claude-opus-4-5', input_tokens: '7', cost_usd: '0.0123' },
    },
  ])
  expect(
    await view(
      'session_processor_runs',
      tenant,
      'processor_name, session_file, username, items_extracted, file_hash',
      'processed_at',
    ),
  ).toEqual([
    {
      processor_name: 'verification',
      session_file: 'anna/1.jsonl',
      username: 'anna',
      items_extracted: 3,
      file_hash: 'abc',
    },
  ])
  expect(await view('exceptions', tenant, 'type, message, doing')).toEqual([
    { type: 'ValueError', message: 'no such table', doing: 'sync.run' },
  ])
  expect(await view('llm_generations', tenant, 'source, model, input_tokens, output_tokens, cost_usd_micros')).toEqual([
    { source: 'agnes', model: 'claude-sonnet-4-5', input_tokens: 100, output_tokens: 20, cost_usd_micros: 600 },
    { source: 'claude_code', model: 'claude-opus-4-5', input_tokens: 7, output_tokens: 0, cost_usd_micros: 12300 },
  ])
})

test('timeline holds what a person cares about, each with an action', async () => {
  const tenant = await stored([
    { name: 'agnes.audit', attributes: { 'agnes.action': 'login', 'agnes.result': 'success' } },
    { name: 'agnes.sync', attributes: { 'agnes.sync.table_id': 'orders', 'agnes.sync.status': 'ok' } },
    { name: 'agnes.system', attributes: { 'agnes.system.component': 'engine', 'agnes.system.event': 'start' } },
    { name: 'agnes.system', attributes: { 'agnes.system.event': 'heartbeat' } },
    { name: '', body: 'plain words' },
    {
      name: '',
      body: 'claude_code.tool_decision',
      scope: 'com.anthropic.claude_code.events',
      attributes: { decision: 'reject', tool_name: 'Bash' },
    },
    { name: 'deploy.finished' },
  ])
  expect(await view('timeline', tenant, 'action, resource, result')).toEqual([
    { action: 'login', resource: '', result: 'success' },
    { action: 'sync.run', resource: 'orders', result: 'ok' },
    { action: 'system.start', resource: 'engine', result: '' },
    { action: 'claude_code.tool_decision', resource: 'Bash', result: 'denied' },
    { action: 'deploy.finished', resource: '', result: '' },
  ])
})

describe('rules that also stand in TypeScript agree with it', () => {
  const raws = ['success', 'ok', 'error', 'error.404', 'error.invalid_sql', 'denied', 'blocked', 'invalid_password']
  raws.push('failed', 'succeeded', 'deactivated', 'skipped', 'attempted', '', 'Success', 'errors')

  test('class of a result', async () => {
    const tenant = await stored(
      raws.map((raw) => ({ name: 'agnes.audit', attributes: { 'agnes.action': 'x', 'agnes.result': raw } })),
    )
    const rows = await view<{ result: string; result_class: string }>('events', tenant, 'result, result_class')
    expect(rows).toEqual(raws.map((raw) => ({ result: raw, result_class: resultClass(raw) })))
  })

  test('kind of client', async () => {
    const events = ['', 'cli', 'agent'].flatMap((clientKind) =>
      ['run_due_jobs', 'marketplace.sync_all', 'query.local'].flatMap((action) =>
        ['', 'anna'].map((userId) => ({ clientKind, action, userId })),
      ),
    )
    const tenant = await stored(
      events.map(({ clientKind, action, userId }) => ({
        name: 'agnes.audit',
        attributes: { 'agnes.action': action, 'user.id': userId, 'agnes.client_kind': clientKind },
      })),
    )
    const rows = await view<{ client_kind: string }>('events', tenant, 'client_kind')
    expect(rows.map(({ client_kind }) => client_kind)).toEqual(events.map(effectiveClientKind))
  })

  test('what an event requires: each misses exactly what the catalogue asks for', async () => {
    const names = Object.keys(catalogue) as (keyof typeof catalogue)[]
    const tenant = await stored(names.map((name) => ({ name })))
    const rows = await view<{ event_name: string; missing: string[] }>(
      'event_violations',
      tenant,
      'event_name, missing',
    )
    const required = (name: keyof typeof catalogue): string[] =>
      Object.values(catalogue[name].fields.shape)
        .filter((field) => !field.safeParse(undefined).success)
        .map((field) => String(field.meta()?.attribute))
    expect(rows).toEqual(names.map((event_name) => ({ event_name, missing: required(event_name) })))
  })
})

test("rows of the Collector's own exporter get every promoted column too", async () => {
  const tenant = await stored([
    { name: '', attributes: { 'event.name': 'agnes.audit', 'agnes.action': 'login', 'user.id': 'anna' } },
  ])
  expect(await view('events', tenant, 'event_name, action, user_id, notEmpty(id) AS has_id')).toEqual([
    { event_name: 'agnes.audit', action: 'login', user_id: 'anna', has_id: 1 },
  ])
})
