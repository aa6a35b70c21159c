/** What deploy/ says agrees with the code: variables, commands, ports, the image, components of the collector. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { variables } from '@agnes/config'
import { expect, test } from 'vitest'
import { nodeVersion } from '../../cli/src/commands/doctor.ts'
import { createProgram } from '../../cli/src/program.ts'
import { sessionLimits } from '../../ingest-gateway/src/sessions/upload.ts'
import { repository } from '../support/agnes.ts'
import { deployedFiles, text, yamlDocuments } from './files.ts'

const files = deployedFiles()

test('every variable of ours is one the configuration knows', () => {
  const known = new Set<string>(Object.keys(variables))
  for (const [name, variable] of Object.entries(variables)) if ('secret' in variable) known.add(`${name}_FILE`)
  for (const file of files) {
    for (const [name] of text(file).matchAll(
      /\b(AGNES_[A-Z_]+|CLICKHOUSE_(URL|CLUSTER)(_FILE)?|TELEGRAM_[A-Z_]+)\b/g,
    )) {
      expect(known, `${name} in ${file}`).toContain(name)
    }
  }
})

/** Names in what people read that are not settings of ours: Grafana's environment, of tests, any processor's cadence. */
const others = /^(AGNES_ALERT_WEBHOOK_URL|AGNES_TEST_GO|AGNES_PROCESSOR_[A-Z_]+_INTERVAL)$/

test('every variable that documents, runbooks, dashboards and alerts tell people to set is one there is', () => {
  const documents = ['docs', 'docs/runbooks', 'grafana/dashboards', 'grafana/provisioning/alerting'].flatMap((folder) =>
    readdirSync(path.join(repository, folder))
      .filter((name) => /\.(md|json|yaml)$/.test(name))
      .map((name) => `${folder}/${name}`),
  )
  expect(documents.length).toBeGreaterThan(40)
  const known = new Set<string>(Object.keys(variables))
  const named = ['README.md', ...documents].flatMap((file) =>
    [...readFileSync(path.join(repository, file), 'utf8').matchAll(/\bAGNES_[A-Z_]*[A-Z]\b/g)].map(([name]) => ({
      file,
      name,
    })),
  )
  expect(
    named.filter(({ name }) => !known.has(name.replace(/_FILE$/, '')) && !known.has(name) && !others.test(name)),
  ).toEqual([])
})

test('every command and document that dashboards and alerts send people to is there', () => {
  const commands = createProgram().commands.map((command) => command.name())
  const told = readdirSync(path.join(repository, 'grafana/dashboards'))
    .map((name) => `grafana/dashboards/${name}`)
    .concat('grafana/provisioning/alerting/agnes-rules.yaml')
    .map((file) => readFileSync(path.join(repository, file), 'utf8'))
    .join('\n')
  const sentTo = [...told.matchAll(/\bagnes ([a-z]+)/g)].map(([, name]) => name)
  expect(sentTo.length).toBeGreaterThan(1)
  for (const name of sentTo) expect(commands).toContain(name)
  const documents = [...told.matchAll(/\bdocs\/[\w/-]+(?:\.md)?/g)].map(([name]) => name)
  expect(documents.length).toBeGreaterThan(10)
  for (const name of new Set(documents)) expect(existsSync(path.join(repository, name)), name).toBe(true)
})

test('a second instance in the documents takes no port of the first', () => {
  const started = readdirSync(path.join(repository, 'docs'))
    .filter((name) => name.endsWith('.md'))
    .flatMap((name) => readFileSync(path.join(repository, 'docs', name), 'utf8').split('\n'))
    .filter((line) => /^AGNES_DATA_DIR=.*agnes(\.js)? up/.test(line))
  expect(started.length).toBeGreaterThan(0)
  for (const line of started) {
    for (const port of ['AGNES_OTLP_PORT', 'AGNES_OTLP_GRPC_PORT', 'AGNES_CLICKHOUSE_PORT', 'AGNES_HTTP_PORT']) {
      expect(line).toContain(`${port}=`)
    }
  }
})

test('every command that is started is one of ours', () => {
  const commands = createProgram().commands.map((command) => command.name())
  const started = files.flatMap((file) => [
    ...[...text(file).matchAll(/^\s+(?:command|args): \[(\w+)\]$/gm)].map(([, name]) => name),
    ...[...text(file).matchAll(/agnes\.js ([a-z]+)/g)].map(([, name]) => name),
    ...[...text(file).matchAll(/\bagnes@([a-z]+)/g)].map(([, name]) => name).filter((name) => name !== 'service'),
    ...[...text(file).matchAll(/^CMD \["(\w+)"\]$/gm)].map(([, name]) => name),
  ])
  expect(started.length).toBeGreaterThan(10)
  for (const name of started) expect(commands).toContain(name)
})

test('proxies lead to the ports the services listen on, and let in bodies as large as they take', () => {
  const ports = [variables.AGNES_OTLP_PORT.default, variables.AGNES_OTLP_GRPC_PORT.default, '8080']
  const caddy = text('caddy/Caddyfile')
  const nginx = text('nginx/agnes.conf')
  const backends = (config: string, pattern: RegExp): (string | undefined)[] =>
    [...new Set([...config.matchAll(pattern)].map(([, port]) => port))].sort()
  expect(backends(caddy, /\{\$BACKEND:127\.0\.0\.1\}:(\d+)/g)).toEqual([...ports].sort())
  expect(backends(nginx, /server 127\.0\.0\.1:(\d+);/g)).toEqual([...ports].sort())
  const mebibytes = Number(variables.AGNES_MAX_BODY_BYTES.default) / 1024 ** 2
  expect(caddy).toContain(`max_size ${mebibytes}MiB`)
  expect(nginx).toContain(`client_max_body_size ${mebibytes}m;`)
  // Transcripts are sent as whole files, to which the limit of a request of events does not apply.
  const gibibytes = sessionLimits.maxFileBytes / 1024 ** 3
  expect(caddy).toMatch(new RegExp(`handle /v1/sessions/\\* \\{\\s+request_body \\{\\s+max_size ${gibibytes}GiB`))
  expect(nginx).toMatch(new RegExp(`location /v1/sessions/ \\{\\s+client_max_body_size ${gibibytes}g;`))
  expect(caddy.indexOf('handle /v1/sessions/*')).toBeLessThan(caddy.indexOf('handle /v1/* {'))
})

test('the image: stages, user, versions and what it copies', () => {
  const dockerfile = text('Dockerfile')
  const stages = [...dockerfile.matchAll(/^FROM (\S+) AS (\S+)$/gm)].map(([, from = '', name = '']) => ({ from, name }))
  const base = /^ARG NODE_IMAGE=node:(\d+\.\d+\.\d+)-[\w-]+$/m.exec(dockerfile)?.[1]
  expect(nodeVersion(base ?? '0').status).toBe('ok')
  for (const [at, { from, name }] of stages.entries()) {
    const before = stages.slice(0, at).map((stage) => stage.name)
    // biome-ignore lint/suspicious/noTemplateCurlyInString: Docker fills it in.
    expect(['${NODE_IMAGE}', ...before], name).toContain(from)
  }
  const bodyOf = (name: string): string =>
    dockerfile.split(new RegExp(`^FROM \\S+ AS ${name}$`, 'm'))[1]?.split(/^FROM /m)[0] ?? ''
  for (const name of ['agnes', 'agnes-embedded']) {
    expect(stages.find((stage) => stage.name === name)?.from).toBe('runtime')
    const copied = /^COPY --from=(\S+) \/src \/app$/m.exec(bodyOf(name))?.[1]
    expect(stages.map((stage) => stage.name)).toContain(copied)
  }
  // The one without the engine is the one the engine was taken out of.
  expect(bodyOf('agnes')).toContain('--from=packages ')
  expect(bodyOf('packages')).toContain('rm -rf node_modules/chdb')
  expect(bodyOf('runtime')).toMatch(/^USER 10001:10001$/m)
  const [, entrypoint = ''] = /^ENTRYPOINT \["node", "\/app\/(\S+)"\]$/m.exec(bodyOf('runtime')) ?? []
  expect(existsSync(path.join(repository, entrypoint))).toBe(true)
  expect(bodyOf('runtime')).toMatch(
    new RegExp(`^EXPOSE ${variables.AGNES_OTLP_PORT.default} ${variables.AGNES_OTLP_GRPC_PORT.default} 8080$`, 'm'),
  )
})

test('the build has every room: its sources, its package, what else it carries', () => {
  const ignored = text('Dockerfile.dockerignore')
  const { workspaces } = JSON.parse(readFileSync(path.join(repository, 'package.json'), 'utf8')) as {
    workspaces: string[]
  }
  for (const room of workspaces) {
    expect(readdirSync(path.join(repository, room))).toEqual(
      expect.arrayContaining(['package.json', 'tsconfig.json', 'src']),
    )
    const { files: carried = [] } = JSON.parse(readFileSync(path.join(repository, room, 'package.json'), 'utf8')) as {
      files?: string[]
    }
    for (const name of carried) {
      if (name === 'dist') continue
      expect(ignored.split('\n'), `${room} carries ${name}`).toContain(name === 'bin' ? '!*/bin' : `!${room}/${name}`)
    }
  }
})

/** Components of the collector's contrib distribution that the files use. */
const components: Readonly<Record<string, readonly string[]>> = {
  receivers: ['otlp'],
  processors: ['memory_limiter', 'resourcedetection'],
  exporters: ['otlp_http', 'clickhouse', 'nop'],
  extensions: ['health_check', 'file_storage'],
}

test.each(['agent.yaml', 'bypass.yaml'])('collector/%s: components there are, each defined and used', (file) => {
  const [config] = yamlDocuments('collector', file) as [Record<string, Record<string, unknown>>]
  const service = config?.service as { extensions: string[]; pipelines: Record<string, Record<string, string[]>> }
  for (const kind of Object.keys(components)) {
    const defined = Object.keys(config?.[kind] ?? {}).sort()
    const used =
      kind === 'extensions'
        ? service.extensions
        : Object.values(service.pipelines).flatMap((pipeline) => pipeline[kind] ?? [])
    expect([...new Set(used)].sort(), kind).toEqual(defined)
    for (const name of defined) expect(components[kind]).toContain(name)
  }
  // What the gateway takes without storing it is no error of a sender here either.
  expect(Object.keys(service.pipelines).sort()).toEqual(['logs', 'metrics', 'traces'])
  // The gateway has the usual ports of this machine.
  const ours = [variables.AGNES_OTLP_PORT.default, variables.AGNES_OTLP_GRPC_PORT.default]
  for (const [, port] of text('collector', file).matchAll(/endpoint: 127\.0\.0\.1:(\d+)/g))
    expect(ours).not.toContain(port)
})
