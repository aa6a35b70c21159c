import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { expect, test } from 'vitest'
import { engineHost, isLoopback, loadConfig, nearest, parseConfig } from './parse.ts'

test('without any variable the documented defaults hold, and each says where it came from', () => {
  const { config, sources } = parseConfig({}, {}, '/srv')
  expect(config).toMatchObject({ dataDir: '/srv/data', host: '127.0.0.1', otlpPort: 4318, clickhousePort: 8123 })
  expect(sources.find((source) => source.name === 'AGNES_DATA_DIR')).toMatchObject({
    source: 'default',
    shown: './data',
  })
  expect(sources.find((source) => source.name === 'CLICKHOUSE_URL')).toMatchObject({ source: 'unset' })
})

test('the environment wins over .env, an empty variable counts as unset', () => {
  const { config } = parseConfig(
    { AGNES_OTLP_PORT: '1', AGNES_HOST: '' },
    { AGNES_OTLP_PORT: '2', AGNES_HOST: '::1' },
    '/',
  )
  expect(config).toMatchObject({ otlpPort: 1, host: '::1' })
})

test('a .env file in the working directory is read', () => {
  const directory = mkdtempSync(path.join(tmpdir(), 'agnes-config-'))
  writeFileSync(path.join(directory, '.env'), 'AGNES_OTLP_PORT=0\n')
  expect(loadConfig({}, directory).config.otlpPort).toBe(0)
  rmSync(directory, { recursive: true })
})

test('a working directory the user may not enter has no .env for it; one that may not be read is told', () => {
  const directory = mkdtempSync(path.join(tmpdir(), 'agnes-config-'))
  writeFileSync(path.join(directory, '.env'), 'AGNES_OTLP_PORT=0\n')
  const isRoot = process.getuid?.() === 0
  if (isRoot) process.seteuid?.('nobody')
  const asNobody = (mode: number, of: string): number => {
    if (isRoot) process.seteuid?.(0)
    chmodSync(of, mode)
    if (isRoot) process.seteuid?.('nobody')
    return loadConfig({}, directory).config.otlpPort
  }
  try {
    expect(asNobody(0o000, directory)).toBe(4318)
    expect(asNobody(0o755, directory)).toBe(0)
    expect(() => asNobody(0o000, path.join(directory, '.env'))).toThrow('cannot read')
  } finally {
    if (isRoot) process.seteuid?.(0)
    rmSync(directory, { recursive: true })
  }
})

test('a secret may stand in a file that only its owner and group read, and is shown as little as any', () => {
  const directory = mkdtempSync(path.join(tmpdir(), 'agnes-config-'))
  const file = path.join(directory, 'url')
  writeFileSync(file, 'http://agnes:hush@db:8123/agnes\n', { mode: 0o440 })
  const { config, sources } = parseConfig({ CLICKHOUSE_URL_FILE: 'url' }, {}, directory)
  expect(config.clickhouseUrl).toBe('http://agnes:hush@db:8123/agnes')
  expect(sources.find(({ name }) => name === 'CLICKHOUSE_URL')).toEqual({
    name: 'CLICKHOUSE_URL',
    source: 'file',
    shown: 'http://agnes:***@db:8123/agnes',
  })
  const refused = (env: NodeJS.ProcessEnv): string => {
    try {
      parseConfig(env, {}, directory)
    } catch (error) {
      return (error as Error).message
    }
    return 'taken'
  }
  expect(refused({ CLICKHOUSE_URL_FILE: 'url', CLICKHOUSE_URL: 'http://db:8123/a' })).toMatch(/both set/)
  expect(refused({ AGNES_KEYS_FILE: 'none' })).toMatch(/cannot read .*none \(AGNES_KEYS_FILE\)/)
  expect(refused({ AGNES_OTLP_PORT_FILE: 'url' })).toBe('AGNES_OTLP_PORT_FILE is not a variable we know')
  chmodSync(file, 0o644)
  expect(refused({ CLICKHOUSE_URL_FILE: 'url' })).toMatch(/everyone may read/)
  writeFileSync(path.join(directory, 'empty'), '\n', { mode: 0o400 })
  expect(refused({ CLICKHOUSE_URL_FILE: 'empty' })).toMatch(/is empty/)
  rmSync(directory, { recursive: true })
})

/** A secret as AGNES_KEYS takes it. */
const good = '0123456789abcdef0123456789abcdef'

test('the files of TLS are found from the working directory', () => {
  const { config } = parseConfig(
    { AGNES_TLS_CERT_FILE: 'tls/cert.pem', AGNES_TLS_KEY_FILE: '/keys/key.pem' },
    {},
    '/srv',
  )
  expect(config.tls).toEqual({ certFile: '/srv/tls/cert.pem', keyFile: '/keys/key.pem', clientCaFile: undefined })
  expect(parseConfig({}, {}, '/').config.tls).toBeUndefined()
})

test.each([
  [{ AGNES_OTPL_PORT: '1' }, 'AGNES_OTPL_PORT is not a variable we know', 'did you mean AGNES_OTLP_PORT?'],
  [
    { AGNES_TRUSTED_PROXIES: 'loopback, 10.1.0.0/33' },
    'separated by commas: "10.1.0.0/33" is none',
    'AGNES_TRUSTED_PROXIES',
  ],
  [{ AGNES_TRUSTED_PROXIES: 'everybody' }, '"everybody" is none', 'AGNES_TRUSTED_PROXIES'],
  [{ AGNES_OTLP_PORT: 'http' }, 'AGNES_OTLP_PORT (from environment): must be a port number', 'AGNES_OTLP_PORT'],
  [{ AGNES_OTLP_PORT: '70000' }, 'AGNES_OTLP_PORT (from environment)', 'port'],
  [{ CLICKHOUSE_URL: 'localhost:8123' }, 'CLICKHOUSE_URL (from environment): must look like', 'CLICKHOUSE_URL'],
  [
    { AGNES_KEYS: 'ci' },
    'AGNES_KEYS (from environment): key 1 is not of the form name:scope+scope:secret',
    'AGNES_KEYS',
  ],
  [{ AGNES_KEYS: `ci:ingest:${good},app:ingest:short` }, 'key 2 (app) needs a secret of 32 to 200', 'AGNES_KEYS'],
  [{ AGNES_KEYS: `ci:write:${good}` }, 'key 1 (ci) has an unknown scope: there are ingest, runs', 'AGNES_KEYS'],
  [{ AGNES_KEYS: `ci@a b:ingest:${good}` }, 'key 1 (ci) has no good tenant', 'AGNES_KEYS'],
  [{ AGNES_KEYS: `ci:ingest:${good},ci:read:${good}x` }, 'the name ci is given twice', 'AGNES_KEYS'],
  [{ AGNES_KEYS: `ci:ingest:${good},app:read:${good}` }, 'has the secret of another one', 'AGNES_KEYS'],
  [{ AGNES_TLS_CERT_FILE: 'c' }, 'AGNES_TLS_CERT_FILE is set, but AGNES_TLS_KEY_FILE is not', 'set AGNES_TLS_KEY_FILE'],
  [{ AGNES_TLS_KEY_FILE: 'k' }, 'AGNES_TLS_KEY_FILE is set, but AGNES_TLS_CERT_FILE is not', 'set AGNES_TLS_CERT_FILE'],
  [{ AGNES_TLS_CLIENT_CA_FILE: 'a' }, 'AGNES_TLS_CLIENT_CA_FILE is set, but', 'set AGNES_TLS_CERT_FILE and'],
  [{ AGNES_HOST: '127.0.0.1\nX=1' }, 'AGNES_HOST (from environment): must be an address', 'AGNES_HOST'],
  [{ CLICKHOUSE_CLUSTER: 'main' }, 'the embedded engine is not a cluster', 'CLICKHOUSE_URL'],
])('%o is refused with what is wrong and what to do', (env, message, hint) => {
  try {
    parseConfig(env, {}, '/')
    expect.unreachable()
  } catch (error) {
    expect(error).toMatchObject({
      exitCode: 2,
      message: expect.stringContaining(message),
      hint: expect.stringContaining(hint),
    })
  }
})

test('a password in CLICKHOUSE_URL is never shown', () => {
  const { sources } = parseConfig({ CLICKHOUSE_URL: 'https://agnes:s3cret@db:8443/agnes' }, {}, '/')
  expect(JSON.stringify(sources)).not.toContain('s3cret')
  expect(sources.find((source) => source.name === 'CLICKHOUSE_URL')?.shown).toBe('https://agnes:***@db:8443/agnes')
})

test('AGNES_KEYS gives each key a name, a tenant, scopes and a secret, and shows all but the secret', () => {
  const { config, sources } = parseConfig({ AGNES_KEYS: `ci:ingest:${good}, app@acme:read+ingest:${good}x` }, {}, '/')
  expect(config.keys).toEqual([
    { name: 'ci', tenant: 'default', scopes: ['ingest'], secret: good },
    { name: 'app', tenant: 'acme', scopes: ['read', 'ingest'], secret: `${good}x` },
  ])
  const shown = sources.find((source) => source.name === 'AGNES_KEYS')?.shown
  expect(shown).toBe('ci@default:ingest:***,app@acme:read+ingest:***')
})

test.each([`ci:${good}`, `${good}:ingest:ci`, `ci:${good}:ingest`, `ci:ingest:${good} ${good}`])(
  'a secret is in no error, wherever it stands: AGNES_KEYS=%s',
  (text) => {
    expect(() => parseConfig({ AGNES_KEYS: text }, {}, '/')).toThrow(
      expect.objectContaining({ message: expect.not.stringContaining(good), hint: expect.not.stringContaining(good) }),
    )
  },
)

test('the embedded engine stays on loopback, whatever the gateway binds to', () => {
  expect(['127.0.0.1', '::1', '0.0.0.0', '10.0.0.1', '::'].map(engineHost)).toEqual([
    '127.0.0.1',
    '::1',
    '127.0.0.1',
    '127.0.0.1',
    '127.0.0.1',
  ])
})

test('only addresses of this machine count as loopback', () => {
  expect(['127.0.0.1', '127.8.8.8', 'localhost', '::1'].every(isLoopback)).toBe(true)
  expect(['0.0.0.0', '::', '10.0.0.1', '127.0.0.1.example.org'].some(isLoopback)).toBe(false)
})

test('a suggestion is made for a slip, not for something else entirely', () => {
  expect(nearest('helth', ['health', 'doctor'])).toBe('health')
  expect(nearest('xyzzy', ['health', 'doctor'])).toBeUndefined()
})

test('each processor may have an interval of its own, and it is listed where it is set', () => {
  const { config, sources } = parseConfig(
    { AGNES_PROCESSOR_FAILURE_SCAN_INTERVAL: '60' },
    { AGNES_PROCESSOR_USAGE_INTERVAL: '0', AGNES_PROCESSOR_FAILURE_SCAN_INTERVAL: '5' },
    '/',
  )
  expect(config.processorIntervals).toEqual({ failure_scan: 60, usage: 0 })
  expect(sources).toContainEqual({ name: 'AGNES_PROCESSOR_USAGE_INTERVAL', source: '.env', shown: '0' })
  expect(parseConfig({}, {}, '/').config.processorIntervals).toEqual({})
})

test.each(['-1', '1.5', 'daily', '604801'])('an interval of %s is refused with what it takes', (text) => {
  expect(() => parseConfig({ AGNES_PROCESSOR_USAGE_INTERVAL: text }, {}, '/')).toThrow(
    /^AGNES_PROCESSOR_USAGE_INTERVAL \(from environment\)/,
  )
})

test('what only looks like an interval is not one', () => {
  expect(() => parseConfig({ AGNES_PROCESSOR__INTERVAL: '1' }, {}, '/')).toThrow('is not a variable we know')
})
