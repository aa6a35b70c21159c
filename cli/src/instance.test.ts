import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { parseConfig } from '@agnes/config'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { findInstance, writeRunNote } from './instance.ts'

const running = {
  clickhouseUrl: 'http://127.0.0.1:41001/agnes',
  otlpUrl: 'http://127.0.0.1:41002',
  inboxUrl: 'http://127.0.0.1:41003',
}
const fromPorts = {
  clickhouseUrl: 'http://127.0.0.1:8123/agnes',
  otlpUrl: 'http://127.0.0.1:4318',
  inboxUrl: 'http://127.0.0.1:8080',
}
let dataDir = ''
let noteFile = ''

beforeEach(() => {
  dataDir = mkdtempSync(path.join(tmpdir(), 'agnes-instance-'))
  noteFile = path.join(dataDir, 'run.json')
})
afterEach(() => rmSync(dataDir, { recursive: true }))

test('a running instance is found by the note it left, whatever ports it took', () => {
  writeRunNote({ dataDir }, running)
  expect(findInstance(config())).toEqual(running)
})

test('the note is for its owner only: the URL of a server may hold a password', () => {
  writeFileSync(noteFile, '{}', { mode: 0o644 })
  writeRunNote({ dataDir }, running)
  expect(statSync(noteFile).mode & 0o777).toBe(0o600)
})

test('what another start left half written does not stand in the way', () => {
  writeFileSync(`${noteFile}.${process.pid}`, '{"clickho')
  writeRunNote({ dataDir }, running)
  expect(findInstance(config())).toEqual(running)
})

test('an instance that stopped is not looked for where it was', () => {
  const forget = writeRunNote({ dataDir }, running)
  forget()
  expect(() => statSync(noteFile)).toThrow('ENOENT')
  expect(findInstance(config())).toEqual(fromPorts)
  forget()
})

test('the note of a process that was killed counts for nothing', () => {
  writeRunNote({ dataDir }, running)
  const { pid } = spawnSync(process.execPath, ['--version'])
  edit({ pid })
  expect(findInstance(config())).toEqual(fromPorts)
})

test('nor does it when the pid belongs to another process by now', () => {
  writeRunNote({ dataDir }, running)
  edit({ started: '1' })
  expect(findInstance(config())).toEqual(fromPorts)
})

test.each(['', 'null', '[]', '{"pid":1}', '{"clickhouseUrl":'])('a note that says %j is no note', (text) => {
  writeFileSync(noteFile, text)
  expect(findInstance(config())).toEqual(fromPorts)
})

test('a server that the configuration names comes before the note', () => {
  writeRunNote({ dataDir }, running)
  expect(findInstance(config({ CLICKHOUSE_URL: 'https://db.example:8443/agnes' }))).toEqual({
    ...running,
    clickhouseUrl: 'https://db.example:8443/agnes',
  })
})

test('without a note host and ports of the configuration say where; IPv6 in brackets', () => {
  const env = { AGNES_HOST: '::1', AGNES_OTLP_PORT: '4400', AGNES_CLICKHOUSE_PORT: '8200' }
  expect(findInstance(config(env))).toEqual({
    clickhouseUrl: 'http://[::1]:8200/agnes',
    otlpUrl: 'http://[::1]:4400',
    inboxUrl: 'http://[::1]:8080',
  })
})

function config(env: NodeJS.ProcessEnv = {}) {
  return parseConfig({ AGNES_DATA_DIR: dataDir, ...env }, {}, dataDir).config
}

function edit(changes: Readonly<Record<string, unknown>>): void {
  const note = JSON.parse(readFileSync(noteFile, 'utf8'))
  writeFileSync(noteFile, JSON.stringify({ ...note, ...changes }))
}
