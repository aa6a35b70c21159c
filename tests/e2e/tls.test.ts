/** `agnes up` behind a certificate that names another host and that nobody signed: our own commands find their way. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type RunningAgnes, startAgnes } from '../support/agnes.ts'
import { type CertificateFiles, writeCertificateFiles } from '../support/certificates.ts'
import { copyDatabase } from '../support/database.ts'

let dataDir: string
let files: CertificateFiles
let instance: RunningAgnes
beforeAll(async () => {
  dataDir = mkdtempSync(path.join(tmpdir(), 'agnes-tls-'))
  files = writeCertificateFiles(dataDir)
  await copyDatabase(path.join(dataDir, 'clickhouse'))
  instance = await startAgnes(dataDir, { AGNES_TLS_CERT_FILE: files.certFile, AGNES_TLS_KEY_FILE: files.keyFile })
})
afterAll(async () => {
  expect(await instance.interrupt()).toBe(0)
  rmSync(dataDir, { recursive: true })
})

const reaches = async (): Promise<void> => {
  const { stdout } = await instance.agnes('doctor', '--json')
  const { findings } = JSON.parse(stdout) as { findings: { check: string; status: string; detail: string }[] }
  expect(findings.find(({ check }) => check === 'gateway')).toMatchObject({
    status: 'ok',
    detail: expect.stringContaining(instance.otlpUrl),
  })
}

test('doctor, demo and the events of "agnes up" itself reach the gateway over TLS', async () => {
  expect(instance.otlpUrl).toMatch(/^https:/)
  await reaches()
  const demo = await instance.agnes('demo', '--days', '1')
  expect(demo).toMatchObject({
    code: 0,
    stderr: expect.stringMatching(/sent \d{3,} events of 1 days, all acknowledged/),
  })
  const query =
    "SELECT count() FROM otel_logs WHERE ServiceName = 'agnes' AND LogAttributes['agnes.system.event'] = 'ready'"
  await expect
    .poll(async () => Number((await instance.agnes('sql', query, '--format', 'TabSeparated')).stdout), {
      timeout: 20_000,
    })
    .toBeGreaterThan(0)
})
