/** TLS as its clients and its operator see it: who is let in, what a mistake looks like, and what a renewal does. */
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { request as httpRequest } from 'node:http'
import { request as httpsRequest, type RequestOptions } from 'node:https'
import { connect as connectTcp } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { text } from 'node:stream/consumers'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import { credentials } from '@grpc/grpc-js'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type CertificateFiles, pem, writeCertificateFiles } from '../../tests/support/certificates.ts'
import { connectGrpc } from '../../tests/support/grpc-client.ts'
import { encodeExportLogsRequest } from '../../tests/support/otlp-reference.ts'
import { type SpoolOnlyGateway, startSpoolOnlyGateway } from '../../tests/support/spool-only-gateway.ts'
import { openTls } from './tls.ts'

let directory: string
let files: CertificateFiles
let gateway: SpoolOnlyGateway | undefined
beforeEach(() => {
  directory = mkdtempSync(path.join(tmpdir(), 'agnes-tls-'))
  files = writeCertificateFiles(directory)
})
afterEach(async () => {
  await gateway?.stop()
  gateway = undefined
  rmSync(directory, { recursive: true })
})

async function start({ clients = false } = {}): Promise<SpoolOnlyGateway> {
  const { certFile, keyFile, clientCaFile } = files
  const tls = { certFile, keyFile, clientCaFile: clients ? clientCaFile : undefined }
  gateway = await startSpoolOnlyGateway({ tls, tlsEveryMs: 20 })
  return gateway
}

let sent = 0
const record = () => ({
  resourceLogs: [{ scopeLogs: [{ logRecords: [{ body: { stringValue: `event ${++sent}` } }] }] }],
})

interface Answer {
  readonly status: number
  readonly body: string
}

/** @throws what the connection failed with */
function ask(send: typeof httpRequest, port: number, options: RequestOptions, body?: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = send({ port, host: '127.0.0.1', agent: false, ...options }, (answer) => {
      text(answer).then((body) => resolve({ status: answer.statusCode ?? 0, body }), reject)
    })
    request.on('error', reject)
    request.end(body)
  })
}

const trusting = { ca: pem('server.pem'), servername: 'gateway.test' }
const aClient = { cert: pem('client.pem'), key: pem('client.key') }
const health = { path: '/healthz', method: 'GET' }

function exportHttps(options: RequestOptions = trusting): Promise<Answer> {
  const headers = { 'Content-Type': 'application/json' }
  const target = { path: '/v1/logs', method: 'POST', headers, ...options }
  return ask(httpsRequest, (gateway as SpoolOnlyGateway).port, target, JSON.stringify(record()))
}

/** @throws ServiceError */
function exportGrpc(root = pem('server.pem'), client?: typeof aClient): Promise<Buffer> {
  const connection = connectGrpc((gateway as SpoolOnlyGateway).grpcPort, {
    credentials: credentials.createSsl(root, client?.key, client?.cert),
    serverName: 'gateway.test',
  })
  return connection.export(encodeExportLogsRequest(record())).finally(connection.close)
}

/** The certificate a port shows. */
function shown(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket: TLSSocket = connectTls({
      port,
      host: '127.0.0.1',
      rejectUnauthorized: false,
      ALPNProtocols: ['h2', 'http/1.1'],
    })
    socket.once('error', reject)
    socket.once('secureConnect', () => {
      resolve(socket.getPeerCertificate().fingerprint256)
      socket.destroy()
    })
  })
}

test('with certificate and key both ports speak TLS, and events arrive', async () => {
  const { url, counts } = await start()
  expect(url).toMatch(/^https:\/\/127\.0\.0\.1:/)
  expect(await exportHttps()).toEqual({ status: 200, body: '{}' })
  await exportGrpc()
  expect(counts().backlogRecords).toBe(2)
})

test('the heartbeat arrives too, though the certificate does not name the loopback address', async () => {
  const { certFile, keyFile } = files
  gateway = await startSpoolOnlyGateway({ tls: { certFile, keyFile, clientCaFile: undefined }, heartbeatMs: 50 })
  await expect.poll(() => gateway?.counts().backlogRecords, { timeout: 10_000 }).toBeGreaterThan(2)
})

test('a client that speaks plain HTTP is told to use https', async () => {
  const { port, counts } = await start()
  const options = { path: '/v1/logs', method: 'POST', headers: { 'Content-Type': 'application/json' } }
  for (const body of [JSON.stringify(record()), ' '.repeat(3_000_000)]) {
    const answer = await ask(httpRequest, port, options, body)
    expect(answer.status).toBe(400)
    expect(JSON.parse(answer.body)).toEqual({ code: 3, message: 'this port speaks TLS: use https:// in the endpoint' })
  }
  expect(await exportHttps()).toMatchObject({ status: 200 })
  expect(counts().backlogRecords).toBe(1)
})

test.each<[string, Buffer]>([
  ['half a handshake', Buffer.from('1603010', 'latin1')],
  ['a handshake that is none', Buffer.from('160301000501000001ff', 'hex')],
  ['the end of the stream', Buffer.alloc(0)],
])('%s is cut or waited for, and disturbs nobody', async (_, bytes) => {
  const { port, logged } = await start()
  const socket = connectTcp(port, '127.0.0.1')
  socket.on('error', () => {})
  if (bytes.length === 0) socket.end()
  else socket.write(bytes)
  expect(await exportHttps()).toMatchObject({ status: 200 })
  socket.destroy()
  expect(logged.filter((line) => line.includes('unexpected'))).toEqual([])
})

test('TLS 1.1 is refused', async () => {
  await start()
  const old = { ...trusting, minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'ALL:@SECLEVEL=0' } as const
  await expect(exportHttps(old)).rejects.toThrow(/protocol version|unsupported protocol/)
})

test('it stops at once though someone connected and says nothing', async () => {
  const { port, stop } = await start()
  const socket = connectTcp(port, '127.0.0.1')
  socket.on('error', () => {})
  await new Promise((resolve) => socket.once('connect', resolve))
  const before = performance.now()
  await stop()
  gateway = undefined
  expect(performance.now() - before).toBeLessThan(5_000)
})

describe('mutual TLS', () => {
  test('a client with a certificate of ours is let in, over both protocols', async () => {
    const { counts } = await start({ clients: true })
    expect(await exportHttps({ ...trusting, ...aClient })).toMatchObject({ status: 200 })
    await exportGrpc(pem('server.pem'), aClient)
    expect(counts().backlogRecords).toBe(2)
  })

  test('one without, or with one that somebody else signed, is refused and told why', async () => {
    const { counts } = await start({ clients: true })
    const stranger = { cert: pem('renewed.pem'), key: pem('renewed.key') }
    for (const client of [{}, stranger]) {
      const answer = await exportHttps({ ...trusting, ...client })
      expect(answer.status).toBe(403)
      expect(JSON.parse(answer.body)).toMatchObject({ code: 7, message: expect.stringContaining('client certificate') })
    }
    await expect(exportGrpc()).rejects.toMatchObject({ code: 14 })
    expect(counts().backlogRecords).toBe(0)
  })

  test('health and metrics need none: probes have no certificates', async () => {
    const { port } = await start({ clients: true })
    expect(await ask(httpsRequest, port, { ...health, ...trusting })).toMatchObject({ status: 200 })
    expect(await ask(httpsRequest, port, { ...health, path: '/metrics', ...trusting })).toMatchObject({ status: 200 })
  })
})

describe('a renewal', () => {
  test('is noticed: new connections see the new certificate', async () => {
    const { port, grpcPort, logged } = await start()
    const before = await shown(port)
    expect(await shown(grpcPort)).toBe(before)
    files.replace('renewed')
    await expect.poll(() => logged.at(-1)).toMatch(/^tls: new certificate from .*cert\.pem, valid until 2126-/)
    const after = await shown(port)
    expect(after).not.toBe(before)
    expect(await shown(grpcPort)).toBe(after)
    expect(await exportHttps({ ...trusting, ca: pem('renewed.pem') })).toMatchObject({ status: 200 })
    await exportGrpc(pem('renewed.pem'))
  })

  test('that is half done, or wrong, is said once and changes nothing until it is done', async () => {
    const { port, logged } = await start()
    const before = await shown(port)
    const key = readFileSync(files.keyFile)
    files.replace('renewed')
    const newKey = readFileSync(files.keyFile)
    writeFileSync(files.keyFile, key)
    await expect.poll(() => logged.at(-1)).toMatch(/is not the key of the certificate in .*; going on with the certif/)
    await new Promise((resolve) => setTimeout(resolve, 100)) // five more looks
    expect(logged.filter((line) => line.startsWith('tls:'))).toHaveLength(1)
    expect(await shown(port)).toBe(before)
    writeFileSync(files.keyFile, newKey)
    await expect.poll(() => logged.at(-1)).toMatch(/^tls: new certificate/)
    expect(await shown(port)).not.toBe(before)
  })
})

describe('refused at start, with the variable, the file and what to do', () => {
  test.each<[string, () => void, RegExp, RegExp]>([
    [
      'no certificate file',
      () => rmSync(files.certFile),
      /^AGNES_TLS_CERT_FILE: cannot read .*cert\.pem: there is no/,
      /./,
    ],
    [
      'no key file',
      () => rmSync(files.keyFile),
      /^AGNES_TLS_KEY_FILE: cannot read .*key\.pem: there is no such file/,
      /./,
    ],
    [
      'a key where the certificate should be',
      () => writeFileSync(files.certFile, readFileSync(files.keyFile)),
      /^AGNES_TLS_CERT_FILE: .*cert\.pem does not begin with a certificate in PEM form$/,
      /BEGIN CERTIFICATE/,
    ],
    [
      'a certificate where the key should be',
      () => writeFileSync(files.keyFile, pem('server.pem')),
      /^AGNES_TLS_KEY_FILE: .*key\.pem holds no private key in PEM form$/,
      /BEGIN PRIVATE KEY/,
    ],
    [
      'a key with a passphrase',
      () =>
        writeFileSync(
          files.keyFile,
          '-----BEGIN ENCRYPTED PRIVATE KEY-----\nAA==\n-----END ENCRYPTED PRIVATE KEY-----\n',
        ),
      /key\.pem needs a passphrase$/,
      /openssl pkey -in .*key\.pem/,
    ],
    [
      'the key of another certificate',
      () => writeFileSync(files.certFile, pem('renewed.pem')),
      /^AGNES_TLS_KEY_FILE: .*key\.pem is not the key of the certificate in .*cert\.pem$/,
      /made together/,
    ],
    [
      'a key everyone may read',
      () => chmodSync(files.keyFile, 0o644),
      /^AGNES_TLS_KEY_FILE: everyone on this machine may use .*key\.pem \(mode 644\)$/,
      /^chmod 600 .*key\.pem$/,
    ],
    [
      'client authorities that are none',
      () => writeFileSync(files.clientCaFile, 'x'),
      /^AGNES_TLS_CLIENT_CA_FILE: .*client-ca\.pem does not begin with a certificate/,
      /BEGIN CERTIFICATE/,
    ],
  ])('%s', (_, spoil, message, hint) => {
    spoil()
    try {
      openTls({ files, log: () => {} }).stop()
      expect.unreachable()
    } catch (error) {
      expect(error).toMatchObject({
        code: 'bad_tls',
        exitCode: 2,
        message: expect.stringMatching(message),
        hint: expect.stringMatching(hint),
      })
    }
  })
})
