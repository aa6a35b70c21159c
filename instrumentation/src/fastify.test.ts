import { EventEmitter, once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { setImmediate as immediate } from 'node:timers/promises'
import type { LogRecord } from '@opentelemetry/api-logs'
import createFastify, { type FastifyInstance } from 'fastify'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { openConnection, requestBytes, send } from '../../tests/support/raw-http.ts'
import { setContext } from './context.ts'
import { type AuditPluginOptions, auditPlugin } from './fastify.ts'
import { createRecorder } from './recorder.ts'

let app: FastifyInstance
let records: LogRecord[]
const recorder = createRecorder({ emit: (record) => void records.push(record), enabled: () => true })
beforeEach(() => {
  records = []
})
afterEach(() => app.close())

/** An app of a few routes; `more` adds others. */
function createApp(options: Partial<AuditPluginOptions> = {}, more: (app: FastifyInstance) => void = () => {}): void {
  app = createFastify()
  app.register(auditPlugin, { recorder, ...options })
  app.register(async (routes) => {
    routes.get('/tables/:id', async () => ({ ok: true }))
    routes.get('/healthz', { config: { audit: false } }, async () => 'ok')
    routes.get('/fails', async () => {
      throw new Error('no such luck')
    })
    routes.get('/status/:code', async (request, reply) => {
      return reply.code(Number((request.params as { code: string }).code)).send('')
    })
    more(routes)
  })
}

/** The attributes of the one event there is. */
function onlyEvent(): Readonly<Record<string, unknown>> {
  expect(records.map(({ eventName }) => eventName)).toEqual(['agnes.audit'])
  return records[0]?.attributes ?? {}
}

describe('a request leaves one audit event', () => {
  test('with method and route, path, result, duration, address and correlation id', async () => {
    createApp()
    const response = await app.inject('/tables/orders?token=secret')
    expect(response.statusCode).toBe(200)
    expect(onlyEvent()).toMatchObject({
      'agnes.action': 'GET /tables/:id',
      'agnes.resource': '/tables/orders',
      'agnes.result': 'success',
      'agnes.duration_ms': expect.any(Number),
      'agnes.client_kind': 'web',
      'agnes.correlation_id': response.headers['x-correlation-id'],
      'client.address': '127.0.0.1',
    })
    expect(JSON.stringify(records)).not.toContain('secret')
  })

  test('with the action and resource its route says', async () => {
    createApp({}, (routes) => {
      routes.get('/plain', { config: { audit: { action: 'catalog.list', resource: 'catalog' } } }, async () => '')
      routes.delete(
        '/of/:id',
        {
          config: {
            audit: { action: 'data.delete', resource: ({ params }) => `table:${(params as { id: string }).id}` },
          },
        },
        async () => '',
      )
    })
    await app.inject('/plain')
    await app.inject({ method: 'DELETE', url: '/of/orders' })
    expect(
      records.map(({ attributes }) => [attributes?.['agnes.action'], attributes?.['agnes.resource']].join(' ')),
    ).toEqual(['catalog.list catalog', 'data.delete table:orders'])
  })

  test.each([
    ['/status/201', 'success'],
    ['/status/302', 'success'],
    ['/status/400', 'error.400'],
    ['/status/401', 'denied'],
    ['/status/403', 'denied'],
    ['/status/404', 'error.404'],
    ['/status/503', 'error.503'],
    ['/fails', 'error.500'],
    ['/nowhere', 'error.404'],
  ])('%s has the result %s', async (url, result) => {
    createApp()
    await app.inject(url)
    expect(onlyEvent()).toMatchObject({ 'agnes.result': result, 'agnes.resource': url })
  })

  test('that nobody routes is one of an unknown route, so that its path is no action', async () => {
    createApp()
    await app.inject('/wp-admin/setup.php')
    expect(onlyEvent()['agnes.action']).toBe('GET unknown route')
  })

  test('also when its body is refused before the handler', async () => {
    createApp({}, (routes) => routes.post('/upload', async () => ''))
    const headers = { 'content-type': 'application/json' }
    const response = await app.inject({ method: 'POST', url: '/upload', headers, body: '{' })
    expect(response.statusCode).toBe(400)
    expect(onlyEvent()).toMatchObject({ 'agnes.action': 'POST /upload', 'agnes.result': 'error.400' })
  })

  test('but none where the route says so', async () => {
    createApp()
    expect((await app.inject('/healthz')).statusCode).toBe(200)
    expect(records).toEqual([])
  })

  test('also when the client hangs up before the answer: what it asked for may have been done', async () => {
    const handler = new EventEmitter()
    const working = once(handler, 'working')
    createApp({}, (routes) =>
      routes.post('/slow', async () => {
        setContext({ userId: 'u1' })
        const released = once(handler, 'release')
        handler.emit('working')
        await released
        return ''
      }),
    )
    await app.listen({ port: 0, host: '127.0.0.1' })
    const { socket } = await openConnection((app.server.address() as AddressInfo).port)
    socket.write(requestBytes({ path: '/slow' }))
    await working
    socket.destroy()
    await vi.waitFor(() => expect(records).toHaveLength(1))
    handler.emit('release')
    await app.close()
    expect(onlyEvent()).toMatchObject({
      'agnes.action': 'POST /slow',
      'agnes.result': 'error.aborted',
      'user.id': 'u1',
    })
  })

  test('with its own result when a hook of the host holds up what comes after the response', async () => {
    app = createFastify()
    app.addHook('onResponse', async (request) => {
      await once(request.raw.socket, 'close')
    })
    await app.register(auditPlugin, { recorder })
    app.get('/fine', async () => 'fine')
    await app.listen({ port: 0, host: '127.0.0.1' })
    await send((app.server.address() as AddressInfo).port, { method: 'GET', path: '/fine' })
    await vi.waitFor(() => expect(records).toHaveLength(1))
    expect(onlyEvent()).toMatchObject({ 'agnes.result': 'success' })
  })

  test('each, over a connection that is kept', async () => {
    createApp()
    await app.listen({ port: 0, host: '127.0.0.1' })
    const connection = await openConnection((app.server.address() as AddressInfo).port)
    for (const id of ['a', 'b', 'c']) {
      connection.socket.write(requestBytes({ method: 'GET', path: `/tables/${id}` }))
      expect((await connection.answer()).status).toBe(200)
    }
    connection.socket.destroy()
    await app.close()
    expect(records.map(({ attributes }) => attributes?.['agnes.resource'])).toEqual([
      '/tables/a',
      '/tables/b',
      '/tables/c',
    ])
  })
})

describe('the duration', () => {
  test('covers the work of the handler, in milliseconds', async () => {
    createApp({}, (routes) =>
      routes.get('/busy', async () => {
        const until = performance.now() + 20
        while (performance.now() < until) await immediate()
        return ''
      }),
    )
    const started = performance.now()
    await app.inject('/busy')
    const durationMs = onlyEvent()['agnes.duration_ms']
    expect(durationMs).toBeGreaterThanOrEqual(19)
    expect(durationMs).toBeLessThanOrEqual(performance.now() - started)
  })
})

describe('who it was', () => {
  test('comes from the app, or from the handler, and what one leaves open the other fills in', async () => {
    createApp(
      {
        actorOf: ({ headers }) => ({
          userId: headers.authorization,
          clientKind: headers['user-agent']?.startsWith('agnes-cli') ? 'cli' : undefined,
        }),
      },
      (routes) =>
        routes.get('/login', async () => {
          setContext({ userId: 'from-handler', sessionId: 's1' })
          return ''
        }),
    )
    await app.inject({ url: '/login', headers: { authorization: 'from-app', 'user-agent': 'agnes-cli/1' } })
    await app.inject({ url: '/login' })
    expect(records.map(({ attributes }) => attributes)).toMatchObject([
      { 'user.id': 'from-app', 'agnes.client_kind': 'cli', 'session.id': 's1' },
      { 'user.id': 'from-handler', 'agnes.client_kind': 'web', 'session.id': 's1' },
    ])
  })

  test('params, the state before and another result come from the handler, after a body was read too', async () => {
    createApp({}, (routes) =>
      routes.put('/tables/:id', async ({ body }) => {
        await immediate()
        setContext({ params: body, paramsBefore: { rows: 1 }, result: 'skipped' })
        return ''
      }),
    )
    await app.listen({ port: 0, host: '127.0.0.1' })
    await send((app.server.address() as AddressInfo).port, {
      method: 'PUT',
      path: '/tables/t',
      headers: { 'Content-Type': 'application/json' },
      body: '{"rows":2}',
      chunked: true,
    })
    await app.close()
    expect(onlyEvent()).toMatchObject({
      'agnes.params': '{"rows":2}',
      'agnes.params_before': '{"rows":1}',
      'agnes.result': 'skipped',
    })
  })
})

describe('the correlation id', () => {
  const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'

  test.each([
    ['the caller’s', { 'x-correlation-id': 'job:42', traceparent }, 'job:42'],
    ['the trace id', { traceparent }, '4bf92f3577b34da6a3ce929d0e0e4736'],
    [
      'a new one if the given could be misread',
      { 'x-correlation-id': 'a b\tc' },
      expect.stringMatching(/^[0-9a-f-]{36}$/),
    ],
    [
      'a new one if the given is too long',
      { 'x-correlation-id': 'a'.repeat(129) },
      expect.stringMatching(/^[0-9a-f-]{36}$/),
    ],
  ])('is %s, in the event and in the answer', async (_, headers, expected) => {
    createApp()
    const response = await app.inject({ url: '/tables/t', headers })
    expect(response.headers['x-correlation-id']).toEqual(expected)
    expect(onlyEvent()['agnes.correlation_id']).toEqual(expected)
  })

  test('is on the events of the handler too, and requests at the same time do not mix', async () => {
    createApp({}, (routes) =>
      routes.post('/work', async ({ headers }) => {
        const name = String(headers['x-correlation-id'])
        for (let i = 0; i < 5; i++) {
          await immediate()
          recorder.sync({ tableId: name, status: 'ok' })
        }
        setContext({ params: { name } })
        return ''
      }),
    )
    await app.listen({ port: 0, host: '127.0.0.1' })
    const { port } = app.server.address() as AddressInfo
    const names = Array.from({ length: 8 }, (_, i) => `c${i}`)
    await Promise.all(
      names.map((name) =>
        send(port, {
          path: '/work',
          headers: { 'x-correlation-id': name, 'Content-Type': 'application/json' },
          body: '{}',
        }),
      ),
    )
    await app.close()
    for (const { eventName, attributes = {} } of records) {
      const name = attributes['agnes.correlation_id']
      if (eventName === 'agnes.sync') expect(attributes['agnes.sync.table_id']).toBe(name)
      else expect(attributes['agnes.params']).toBe(`{"name":"${name}"}`)
    }
    expect(records).toHaveLength(8 * 6)
  })
})

describe('the response is never in danger', () => {
  const thrower = (): never => {
    throw new Error('broken')
  }

  test('from a recorder that throws', async () => {
    createApp({ recorder: { ...recorder, audit: thrower } })
    await app.listen({ port: 0, host: '127.0.0.1' })
    const { port } = app.server.address() as AddressInfo
    for (let i = 0; i < 3; i++) {
      const answer = await send(port, { method: 'GET', path: '/tables/t' })
      expect([answer.status, answer.body.toString()]).toEqual([200, '{"ok":true}'])
    }
  })

  test('from an actor or a resource that throws; the event loses only that', async () => {
    createApp({ actorOf: thrower }, (routes) =>
      routes.get('/r', { config: { audit: { action: 'a.b', resource: thrower } } }, async () => 'fine'),
    )
    expect((await app.inject('/r')).body).toBe('fine')
    expect(onlyEvent()).toMatchObject({ 'agnes.action': 'a.b', 'agnes.result': 'success' })
    expect(onlyEvent()).not.toHaveProperty(['agnes.resource'])
  })
})
