import { existsSync, readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { variables } from '@agnes/config'
import Ajv2020 from 'ajv/dist/2020.js'
import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { repository } from '../support/agnes.ts'
import { deploy, text, yamlDocuments } from './files.ts'

interface Service {
  readonly image: string
  readonly user: string
  readonly read_only: boolean
  readonly cap_drop: readonly string[]
  readonly security_opt: readonly string[]
  readonly mem_limit?: string
  readonly cpus?: number
  readonly restart: string
  readonly environment?: Readonly<Record<string, string>>
  readonly secrets?: readonly (string | { source: string; target: string })[]
  readonly volumes?: readonly string[]
  readonly networks?: readonly string[]
  readonly ports?: readonly string[]
  readonly command?: readonly string[]
  readonly healthcheck?: { readonly test: readonly string[] }
  readonly build?: { readonly context: string; readonly dockerfile: string; readonly target: string }
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>
}

interface Compose {
  readonly services: Readonly<Record<string, Service>>
  readonly secrets?: Readonly<Record<string, { readonly file: string }>>
  readonly volumes?: Readonly<Record<string, unknown>>
  readonly networks?: Readonly<Record<string, unknown>>
}

const validate = new Ajv2020.default({ strict: false, logger: false, allErrors: true }).compile(
  JSON.parse(readFileSync(path.join(repository, 'tests/deploy/schemas/compose.json'), 'utf8')),
)

describe.each(['compose.yaml', 'compose.embedded.yaml'])('%s', (file) => {
  const [compose] = yamlDocuments(file) as unknown as [Compose]
  const services = Object.entries(compose.services)

  test('fits the schema of the Compose Specification', () => {
    validate(compose)
    expect(validate.errors).toBeNull()
  })

  test.each(services)(
    '%s runs as nobody special, on a file system it cannot change, within limits',
    (_name, service) => {
      expect(service.user).toMatch(/^[1-9]\d*:\d+$/)
      expect(service).toMatchObject({ read_only: true, cap_drop: ['ALL'], security_opt: ['no-new-privileges:true'] })
      expect(service.image).toMatch(/:\d[\w.-]+$/)
      // What runs once and ends needs neither limits nor a look at its health.
      if (service.restart.startsWith('on-failure')) return
      expect(service.mem_limit).toMatch(/^\d+[mg]$/)
      expect(service.cpus).toBeGreaterThan(0)
      if (service.command?.[0] !== 'processors') expect(service.healthcheck?.test[0]).toBe('CMD')
    },
  )

  test('what services name is declared, and what is declared is used', () => {
    const used = (of: (service: Service) => readonly string[]) =>
      [...new Set(services.flatMap(([, one]) => of(one)))].sort()
    const secrets = used(({ secrets = [] }) =>
      secrets.map((secret) => (typeof secret === 'string' ? secret : secret.source)),
    )
    const volumes = used(({ volumes = [] }) => volumes.map((volume) => volume.split(':')[0] ?? '')).filter((name) =>
      /^\w/.test(name),
    )
    expect(secrets).toEqual(Object.keys(compose.secrets ?? {}).sort())
    expect(volumes).toEqual(Object.keys(compose.volumes ?? {}).sort())
    expect(used(({ networks = [] }) => networks)).toEqual(Object.keys(compose.networks ?? {}).sort())
    expect(
      used(({ depends_on = {} }) => Object.keys(depends_on)).filter((name) => !(name in compose.services)),
    ).toEqual([])
  })

  test('a volume of ours lies where the image has a directory of its user, or root would own it', () => {
    const [, made = ''] = /install -d -o 10001 -g 10001 -m 0700 (.+) \\$/m.exec(text('Dockerfile')) ?? []
    for (const [, { image, volumes = [] }] of services) {
      if (!image.startsWith('agnes')) continue
      for (const [from = '', to] of volumes.map((volume) => volume.split(':'))) {
        if (/^\w/.test(from)) expect(made.split(' '), from).toContain(to)
      }
    }
  })

  test('what is mounted or built from is in the repository', () => {
    for (const [, { volumes = [], build }] of services) {
      for (const [from = ''] of volumes.map((volume) => volume.split(':'))) {
        if (!from.startsWith('.') || from.startsWith('./backups')) continue
        // The room that makes it is being built.
        if (from.startsWith('../grafana') && !existsSync(path.join(deploy, '../grafana'))) continue
        expect(existsSync(path.join(deploy, from)), from).toBe(true)
      }
      if (build === undefined) continue
      expect(text('Dockerfile')).toMatch(new RegExp(`^FROM .* AS ${build.target}$`, 'm'))
      expect(existsSync(path.join(deploy, build.context, build.dockerfile))).toBe(true)
    }
  })

  test('no secret stands in an environment: files are named there', () => {
    for (const [name, { environment = {}, secrets = [] }] of services) {
      const given = secrets.map((secret) => (typeof secret === 'string' ? secret : secret.source))
      for (const [variable, value] of Object.entries(environment)) {
        const plain = variables[variable as keyof typeof variables] as { secret?: boolean } | undefined
        expect(plain?.secret, `${name}: ${variable}`).not.toBe(true)
        if (value.startsWith('/run/secrets/')) expect(given, variable).toContain(path.basename(value))
        else expect(variable, `${name}: a file is a secret`).not.toMatch(/(PASSWORD|TOKEN|KEY|_URL)(__)?_?FILE$/)
      }
    }
  })

  test('ports are those the services listen on', () => {
    const ours = [variables.AGNES_OTLP_PORT, variables.AGNES_OTLP_GRPC_PORT].map((variable) => variable.default)
    for (const [name, service] of services) {
      for (const port of service.ports ?? []) {
        const [inside = '', outside] = port.split(':').reverse()
        expect(inside, port).toBe(outside)
        if (name === 'gateway') expect(ours).toContain(inside)
      }
      const probe = service.healthcheck?.test.join(' ') ?? ''
      if (name === 'gateway' || name === 'agnes')
        expect(probe).toContain(`127.0.0.1:${variables.AGNES_OTLP_PORT.default}/readyz`)
    }
  })
})

test('services that need a key of the others have it: marks and sessions are alike, commands reach the audit trail', () => {
  const [{ services }] = yamlDocuments('compose.yaml') as unknown as [Compose]
  for (const name of ['gateway', 'inbox']) {
    expect(services[name]?.environment).toMatchObject({
      AGNES_REDACTION_KEY_FILE: '/run/secrets/redaction_key',
      AGNES_GATEWAY_KEY_FILE: '/run/secrets/agnes_gateway_key',
    })
  }
})

test('Grafana finds its data source, the password for it and the dashboards where they are, and needs nothing else', () => {
  const [{ services }] = yamlDocuments('compose.yaml') as unknown as [Compose]
  const { environment = {}, secrets = [], volumes = [], networks = [] } = services.grafana as Service
  const mounted = (inside: string): string => {
    const [from = ''] = volumes.map((volume) => volume.split(':')).find(([, to]) => to === inside) ?? []
    return path.join(deploy, from)
  }
  const provisioning = mounted('/etc/grafana/provisioning')
  const read = (name: string): string => readFileSync(path.join(provisioning, name), 'utf8')

  const { datasources } = parse(read('datasources/agnes.yaml')) as {
    datasources: { jsonData: { host: string; port: number; username: string }; secureJsonData: { password: string } }[]
  }
  for (const { jsonData, secureJsonData } of datasources) {
    expect(services[jsonData.host]?.image).toMatch(/^clickhouse\//)
    expect(services[jsonData.host]?.networks?.some((network) => networks.includes(network))).toBe(true)
    expect(jsonData.port).toBe(8123)
    expect(text('clickhouse/users.sql')).toContain(`USER OR REPLACE ${jsonData.username} `)
    expect(secrets.map((secret) => `$__file{/run/secrets/${secret}}`)).toContain(secureJsonData.password)
  }
  const { providers } = parse(read('dashboards/agnes.yaml')) as { providers: { options: { path: string } }[] }
  for (const { options } of providers) expect(readdirSync(mounted(options.path))).toContain('home.json')
  const home = environment.GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH ?? ''
  expect(existsSync(path.join(mounted(path.dirname(home)), path.basename(home)))).toBe(true)

  // Grafana does not start where a variable that a file names is not set. `$$` is a dollar sign.
  for (const name of readdirSync(provisioning, { recursive: true, encoding: 'utf8' })) {
    if (!name.endsWith('.yaml')) continue
    for (const [, variable = ''] of read(name)
      .replaceAll('$$', '')
      .matchAll(/\$\{?([A-Z]\w+)/g))
      expect(Object.keys(environment), name).toContain(variable)
  }
})

test('init-secrets.sh makes every secret that compose.yaml names, for the user that reads it', () => {
  const [compose] = yamlDocuments('compose.yaml') as unknown as [Compose]
  const script = text('init-secrets.sh')
  const users: Readonly<Record<string, string>> = { '101': 'clickhouse', '10001': 'agnes', '472': 'grafana' }
  for (const { user, secrets = [] } of Object.values(compose.services)) {
    for (const secret of secrets) {
      const name = typeof secret === 'string' ? secret : secret.source
      const file = path.basename(compose.secrets?.[name]?.file ?? '')
      const owner = users[user.split(':')[0] ?? '']
      expect(script).toMatch(new RegExp(`^(keep ${file} \\$${owner} |chown \\$${owner} secrets/${file}$)`, 'm'))
    }
  }
})
