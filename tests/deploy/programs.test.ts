/** Configurations of other programs, judged by these programs where they are installed. */
import { spawnSync } from 'node:child_process'
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { repository } from '../support/agnes.ts'
import { deploy, deployedFiles } from './files.ts'

let directory: string
beforeAll(() => {
  directory = mkdtempSync(path.join(tmpdir(), 'agnes-deploy-'))
})
afterAll(() => rmSync(directory, { recursive: true }))

/** @returns undefined where the program is not installed */
function judge(program: string, args: readonly string[]): { status: number | null; said: string } | undefined {
  const { error, status, stdout, stderr } = spawnSync(program, args, {
    env: { PATH: `${process.env.PATH}:/usr/sbin:/sbin`, HOME: directory },
    encoding: 'utf8',
  })
  return error === undefined ? { status, said: `${stdout}${stderr}` } : undefined
}

test('systemd takes the units', (context) => {
  const units = deployedFiles().filter((name) => name.startsWith('systemd/'))
  const copies = path.join(directory, 'units')
  mkdirSync(copies)
  for (const unit of units) {
    // The program is where the packages of Node.js put it; here it may be elsewhere.
    const unitText = readFileSync(path.join(deploy, unit), 'utf8').replaceAll('/usr/bin/node', process.execPath)
    writeFileSync(path.join(copies, path.basename(unit).replace('@.', '@gateway.')), unitText)
  }
  const verdict = judge('systemd-analyze', [
    'verify',
    '--man=no',
    ...units.map((unit) => path.join(copies, path.basename(unit).replace('@.', '@gateway.'))),
  ])
  if (verdict === undefined) return context.skip('systemd is not installed here')
  const ours = verdict.said.split('\n').filter((line) => line.includes('agnes'))
  expect(ours).toEqual([])
  expect(verdict.status).toBe(0)
})

test('nginx takes its configuration', (context) => {
  const prefix = path.join(directory, 'nginx')
  mkdirSync(prefix)
  for (const [name, file] of [
    ['cert', 'server.pem'],
    ['key', 'server.key'],
  ] as const) {
    copyFileSync(path.join(repository, 'tests/support/certificates', file), path.join(prefix, `${name}.pem`))
  }
  const site = readFileSync(path.join(deploy, 'nginx/agnes.conf'), 'utf8').replaceAll('/etc/nginx/agnes/', `${prefix}/`)
  writeFileSync(path.join(prefix, 'agnes.conf'), site)
  const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((name) => `${name}_temp_path ${prefix}/${name};`)
    .join(' ')
  writeFileSync(
    path.join(prefix, 'nginx.conf'),
    `pid ${prefix}/pid; error_log stderr; events {} http { access_log off; ${paths} include ${prefix}/agnes.conf; }`,
  )
  const verdict = judge('nginx', ['-t', '-p', prefix, '-c', path.join(prefix, 'nginx.conf')])
  if (verdict === undefined) return context.skip('nginx is not installed here')
  expect(verdict).toEqual({ status: 0, said: expect.stringContaining('test is successful') })
  expect(verdict.said).not.toMatch(/\[(warn|error|emerg)\]/)
})

test('Caddy takes its configuration', (context) => {
  const verdict = judge('caddy', [
    'validate',
    '--adapter',
    'caddyfile',
    '--config',
    path.join(deploy, 'caddy/Caddyfile'),
  ])
  if (verdict === undefined) return context.skip('Caddy is not installed here')
  expect(verdict).toEqual({ status: 0, said: expect.stringContaining('Valid configuration') })
})

test.each(deployedFiles().filter((name) => name.endsWith('.sh')))('%s is one the shell can read', (script) => {
  expect(judge('sh', ['-n', path.join(deploy, script)])).toEqual({ status: 0, said: '' })
})
