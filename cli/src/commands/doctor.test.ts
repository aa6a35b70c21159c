import { expect, test } from 'vitest'
import { nodeVersion } from './doctor.ts'

test.each(['16.20.2', '18.20.8', '20.18.3'])('Node.js %s is too old to run on', (version) => {
  expect(nodeVersion(version)).toMatchObject({
    status: 'problem',
    detail: expect.stringContaining(version),
    advice: expect.stringContaining('install Node.js'),
  })
})

test.each(['20.19.0', '20.20.2', '21.7.3', '23.11.1', '25.2.0'])('Node.js %s runs, but gets no fixes', (version) => {
  expect(nodeVersion(version)).toMatchObject({
    status: 'warning',
    detail: expect.stringContaining('no security fixes'),
    advice: expect.stringContaining('install Node.js'),
  })
})

test.each([
  ['22.23.3', '22.23.4'],
  ['22.22.9', '22.23.4'],
  ['24.22.0', '24.22.1'],
  ['24.9.9', '24.22.1'],
  ['26.12.0', '26.12.1'],
])('Node.js %s lacks a fix that %s has', (version, floor) => {
  expect(nodeVersion(version)).toMatchObject({ status: 'warning', advice: `install ${floor} or newer` })
  expect(nodeVersion(floor)).toEqual({ check: 'Node.js', status: 'ok', detail: floor })
})

test.each(['22.24.0', '24.23.0', '26.13.0', '27.0.0'])('Node.js %s is well', (version) => {
  expect(nodeVersion(version).status).toBe('ok')
})
