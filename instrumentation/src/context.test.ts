import { setTimeout as delay, setImmediate as immediate } from 'node:timers/promises'
import type { LogRecord } from '@opentelemetry/api-logs'
import { beforeEach, expect, test } from 'vitest'
import { currentContext, resumeContext, runWithContext, setContext } from './context.ts'
import { createRecorder } from './recorder.ts'

let records: LogRecord[]
const recorder = createRecorder({ emit: (record) => void records.push(record), enabled: () => true })
beforeEach(() => {
  records = []
})

/** Action, user and correlation of what was recorded so far. */
const seen = () =>
  records.map(({ attributes }) =>
    ['agnes.action', 'user.id', 'agnes.correlation_id'].map((name) => attributes?.[name]).join(' '),
  )

test('an event says who is at work, however deep in the work it is recorded', async () => {
  const context = {
    userId: 'u1',
    clientKind: 'cli',
    clientAddress: '10.0.0.1',
    correlationId: 'c1',
    sessionId: 's1',
  } as const
  await runWithContext(context, async () => {
    await immediate()
    await Promise.all([delay(1), delay(2)])
    await new Promise<void>((resolve) => {
      setTimeout(() => process.nextTick(() => queueMicrotask(() => resolve(recorder.audit({ action: 'a' })))), 1)
    })
  })
  expect(records[0]?.attributes).toMatchObject({
    'user.id': 'u1',
    'agnes.client_kind': 'cli',
    'client.address': '10.0.0.1',
    'agnes.correlation_id': 'c1',
    'session.id': 's1',
  })
})

test('what the caller says wins over the context, field by field', () => {
  runWithContext({ userId: 'u1', correlationId: 'c1' }, () => recorder.audit({ action: 'a', userId: 'u2' }))
  expect(seen()).toEqual(['a u2 c1'])
})

test('a context within another inherits from it and leaves it as it was', async () => {
  await runWithContext({ userId: 'u1', correlationId: 'c1' }, async () => {
    await runWithContext({ userId: 'u2' }, async () => {
      await immediate()
      setContext({ correlationId: 'c2' })
      recorder.audit({ action: 'inner' })
    })
    recorder.audit({ action: 'outer' })
  })
  expect(seen()).toEqual(['inner u2 c2', 'outer u1 c1'])
})

test('two requests at the same time do not mix', async () => {
  const request = (n: number): Promise<void> =>
    runWithContext({ correlationId: `c${n}` }, async () => {
      for (let step = 0; step < 10; step++) {
        await (step % 2 === 0 ? immediate() : Promise.resolve())
        setContext({ userId: `u${n}` })
        recorder.audit({ action: `a${n}` })
      }
    })
  await Promise.all([request(1), request(2)])
  expect(seen().sort()).toEqual([...Array<string>(10).fill('a1 u1 c1'), ...Array<string>(10).fill('a2 u2 c2')])
  expect(seen()).not.toEqual(seen().sort())
})

test('outside of a context events carry none, and setting one is harmless', async () => {
  await runWithContext({ userId: 'u1' }, async () => immediate())
  setContext({ userId: 'u2' })
  expect(currentContext()).toBeUndefined()
  recorder.audit({ action: 'a' })
  expect(seen()).toEqual(['a  '])
})

test('work that fails takes its context with it', async () => {
  await expect(runWithContext({ userId: 'u1' }, async () => Promise.reject(new Error('no')))).rejects.toThrow('no')
  expect(() => runWithContext({ userId: 'u1' }, thrower)).toThrow('no')
  expect(currentContext()).toBeUndefined()
})

test('a context that was left can be entered again, with what was added meanwhile', () => {
  const context = runWithContext({ userId: 'u1' }, () => currentContext() ?? {})
  resumeContext(context, () => setContext({ correlationId: 'c1' }))
  resumeContext(context, () => recorder.audit({ action: 'a' }))
  expect(seen()).toEqual(['a u1 c1'])
})

function thrower(): never {
  throw new Error('no')
}
