import type { HealthField, HealthPulse } from '@agnes/clickhouse'
import { expect, test } from 'vitest'
import { displayWidth } from '../output/text.ts'
import { renderPulse } from './health.ts'

const scheduler: HealthField = {
  name: 'scheduler',
  value: '3 min ago',
  color: 'green',
  explanation: 'last tick of the scheduler',
  filter: { userId: 'scheduler' },
}
const sync: HealthField = {
  name: 'sync_24h',
  value: '95.2 %',
  color: 'yellow',
  explanation: '5 of 105 syncs failed in 24 h',
  filter: { actionPrefix: 'sync.', result: 'error', since: new Date('2026-11-20T10:00:00Z') },
}

test('all green: the sentence and the fields, nothing to look into', () => {
  expect(renderPulse(pulse('green', 'All nominal: 12 active users', scheduler)).split('\n')).toEqual([
    '● All nominal: 12 active users',
    '',
    '   field             value',
    '●  scheduler  green  3 min ago',
    '',
  ])
})

test('what is not green comes with what it means and the command that shows the rows behind it', () => {
  const text = renderPulse(pulse('yellow', 'sync_24h: 95.2 %', scheduler, sync))
  expect(text).toContain('●  sync_24h   yellow  95.2 %\n')
  expect(text).toMatch(
    /\nsync_24h: 5 of 105 syncs failed in 24 h\n {2}(npx )?agnes activity --action-prefix sync\. --result error --since 2026-11-20T10:00:00Z\n$/,
  )
})

test('what an event holds cannot steer the terminal from the pulse, nor break its lines', () => {
  const hostile = {
    ...sync,
    value: '\u001b[2J',
    explanation: `\u202e${'x'.repeat(300)}`,
    filter: { userId: 'a\u001bc' },
  }
  const text = renderPulse(pulse('red', 'by \u001b]0;x\u0007anna\nand more', hostile))
  expect(text.replaceAll('\n', '')).not.toMatch(/\p{Cc}|\p{Bidi_Control}/u)
  const [sentence, blank, titles = '', row = '', ...rest] = text.split('\n')
  expect([sentence, blank]).toEqual(['● by anna and more', ''])
  for (const line of [titles, row]) expect(displayWidth(line)).toBeLessThanOrEqual(100)
  // A blank line, the meaning, the command, the end.
  expect(rest).toHaveLength(4)
})

function pulse(status: HealthPulse['status'], sentence: string, ...fields: readonly HealthField[]): HealthPulse {
  return { status, sentence, generatedAt: '2026-11-21T10:00:00.000Z', fields }
}
