import { readFileSync } from 'node:fs'
import path from 'node:path'
import { variables } from '@agnes/config'
import Ajv from 'ajv'
import { describe, expect, test } from 'vitest'
import { repository } from '../support/agnes.ts'
import { deployedFiles, text, yamlDocuments } from './files.ts'

const folder = 'kubernetes/base'
const schemas = JSON.parse(readFileSync(path.join(repository, 'tests/deploy/schemas/kubernetes.json'), 'utf8')) as {
  kinds: Readonly<Record<string, string>>
  definitions: object
}
const ajv = new Ajv.default({ strict: false, allErrors: true }).addSchema({ $id: 'kubernetes', ...schemas })

type Labels = Readonly<Record<string, string>>
interface Container {
  readonly name: string
  readonly image: string
  readonly args: readonly string[]
  readonly ports?: readonly { readonly name: string; readonly containerPort: number }[]
  readonly env?: readonly { readonly name: string; readonly value?: string; readonly valueFrom?: unknown }[]
  readonly volumeMounts?: readonly { readonly name: string; readonly mountPath: string }[]
  readonly [probe: `${string}Probe`]: { readonly httpGet: { readonly path: string; readonly port: string } }
}
interface PodSpec {
  readonly containers: readonly Container[]
  readonly volumes?: readonly {
    readonly name: string
    readonly secret?: { readonly items: readonly { readonly key: string }[] }
  }[]
}
interface Resource {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: { readonly name: string }
  // biome-ignore lint/suspicious/noExplicitAny: the schema has checked its form; the tests go through it by kind.
  readonly spec: any
}

const { resources: named, secretGenerator } = yamlDocuments(folder, 'kustomization.yaml')[0] as {
  resources: string[]
  secretGenerator: { name: string; files: string[] }[]
}
/** Of the one secret: those of the file an operator fills in, and those that are files of their own. */
const secretKeys = [
  ...[...text(folder, 'secrets.env.example').matchAll(/^([\w-]+)=/gm)].map(([, key]) => key),
  ...secretGenerator.flatMap(({ files }) => files.map((file) => file.split('=')[0])),
]
const resources = named.flatMap((file) => yamlDocuments(folder, file)) as unknown as Resource[]
const workloads = resources.filter(({ kind }) => ['StatefulSet', 'Deployment', 'Job'].includes(kind))
const podOf = ({ spec }: Resource): PodSpec => spec.template.spec
const labelsOf = ({ spec }: Resource): Labels => spec.template.metadata.labels
const title = ({ kind, metadata }: Resource): string => `${kind} ${metadata.name}`
const each = (all: readonly Resource[]): [string, Resource][] => all.map((resource) => [title(resource), resource])

test('every manifest is named by the kustomization, and every file it names is there', () => {
  const there = deployedFiles()
    .filter((name) => path.dirname(name) === folder && name.endsWith('.yaml'))
    .map((name) => path.basename(name))
  expect([...named, 'kustomization.yaml'].sort()).toEqual(there)
  const overlay = yamlDocuments('kubernetes/clickhouse-operator/kustomization.yaml')[0] as { resources: string[] }
  expect(overlay.resources).toEqual(['../base', 'clickhouse.yaml'])
})

test.each(each(resources))('%s fits the schema of Kubernetes', (_title, resource) => {
  const definition = schemas.kinds[`${resource.apiVersion}/${resource.kind}`]
  expect(definition, 'a kind the schemas have').toBeDefined()
  const validate = ajv.compile({ $ref: `kubernetes#/definitions/${definition}` })
  validate(resource)
  expect(validate.errors).toBeNull()
})

describe.each(each(workloads))('%s', (_title, workload) => {
  const pod = podOf(workload)

  test('meets the restricted pod security standard, on a file system it cannot change', () => {
    expect(pod).toMatchObject({
      automountServiceAccountToken: false,
      securityContext: { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } },
    })
    for (const container of pod.containers) {
      expect(container).toMatchObject({
        securityContext: {
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          capabilities: { drop: ['ALL'] },
        },
        resources: {
          requests: { cpu: expect.anything(), memory: expect.anything() },
          limits: { memory: expect.anything() },
        },
      })
    }
  })

  test('what it mounts is a volume of its own, what it reads is mounted', () => {
    const claims = (workload.spec.volumeClaimTemplates ?? []) as Resource[]
    const volumes = [
      ...(pod.volumes ?? []).map(({ name }) => name),
      ...claims.map(({ metadata }) => metadata.name),
    ].sort()
    for (const { volumeMounts = [], env = [] } of pod.containers) {
      expect(volumeMounts.map(({ name }) => name).sort()).toEqual(volumes)
      const keys = (pod.volumes ?? []).flatMap(({ secret }) => secret?.items.map(({ key }) => key) ?? [])
      const read = env.flatMap(({ value = '' }) => (value.startsWith('/run/secrets/') ? [path.basename(value)] : []))
      expect(read.sort()).toEqual(keys.sort())
      for (const key of keys) expect(secretKeys, key).toContain(key)
    }
  })

  test('its probes ask a port it has', () => {
    for (const container of pod.containers) {
      for (const name of ['startupProbe', 'livenessProbe', 'readinessProbe'] as const) {
        if (container[name] === undefined) continue
        expect(container.ports?.map((port) => port.name)).toContain(container[name].httpGet.port)
        expect(container[name].httpGet.path).toBe(name === 'readinessProbe' ? '/readyz' : '/healthz')
      }
    }
  })

  test('its selector finds its own pods and no others', () => {
    if (workload.kind === 'Job') return
    const { matchLabels } = workload.spec.selector as { matchLabels: Labels }
    const found = workloads.filter((other) => matches(matchLabels, labelsOf(other)))
    expect(found.map(title)).toEqual([title(workload)])
  })
})

const matches = (selector: Labels, labels: Labels): boolean =>
  Object.entries(selector).every(([name, value]) => labels[name] === value)

test('services, budgets, scalers and policies find a workload', () => {
  const selectors: [string, Labels][] = resources.flatMap((resource) => {
    if (resource.kind === 'Service') return [[title(resource), resource.spec.selector]]
    if (resource.kind === 'PodDisruptionBudget') return [[title(resource), resource.spec.selector.matchLabels]]
    if (resource.kind === 'NetworkPolicy' && resource.metadata.name !== 'agnes-clickhouse') {
      const { matchLabels = {}, matchExpressions = [] } = resource.spec.podSelector
      const listed = (matchExpressions as { key: string; values: string[] }[]).flatMap(({ key, values }) =>
        values.map((value): [string, Labels] => [title(resource), { [key]: value }]),
      )
      return [[title(resource), matchLabels], ...listed]
    }
    return []
  })
  for (const [what, selector] of selectors) {
    expect(
      workloads.some((workload) => matches(selector, labelsOf(workload))),
      what,
    ).toBe(true)
  }
  for (const { spec } of resources.filter(({ kind }) => kind === 'HorizontalPodAutoscaler')) {
    const { kind, name } = spec.scaleTargetRef
    expect(workloads.map(title)).toContain(`${kind} ${name}`)
  }
  for (const { spec } of workloads) {
    if (spec.serviceName !== undefined) expect(resources.map(title)).toContain(`Service ${spec.serviceName}`)
  }
})

test.each([
  [
    'gateway',
    'AGNES_REDACTION_KEY_FILE',
    'each pod with a key of its own would keep the same session as a version of its own',
  ],
  ['inbox', 'AGNES_REDACTION_KEY_FILE', 'equal secrets would get other marks in reports than in events'],
  ['gateway', 'AGNES_GATEWAY_KEY_FILE', '"agnes keys create" in its pod would leave nothing in the audit trail'],
])('%s has %s: %s', (service, variable) => {
  const [container] = workloads.map((one) => podOf(one).containers[0]).filter((one) => one?.args[0] === service)
  expect(container?.env?.find(({ name }) => name === variable)?.value).toMatch(/^\/run\/secrets\/agnes\//)
})

test('the inbox may reach what it is told to: ClickHouse, gateway, Telegram', () => {
  const ports = resources
    .filter(({ kind, spec }) => kind === 'NetworkPolicy' && spec.policyTypes.includes('Egress'))
    .filter(({ spec: { podSelector } }) => {
      const { matchLabels = {}, matchExpressions = [] } = podSelector
      const listed = matchExpressions as { values: string[] }[]
      return (
        matches(matchLabels, { 'app.kubernetes.io/name': 'agnes-inbox' }) &&
        listed.every(({ values }) => values.includes('agnes-inbox'))
      )
    })
    .flatMap(({ spec }) => spec.egress as { ports: { port: number }[] }[])
    .flatMap((rule) => rule.ports.map(({ port }) => port))
  expect(ports).toEqual(expect.arrayContaining([53, 8123, 8443, 4318, 443]))
})

test('a pod whose volume only one node may mount ends before the next one starts', () => {
  const alone = resources
    .filter(({ kind, spec }) => kind === 'PersistentVolumeClaim' && !spec.accessModes.includes('ReadWriteMany'))
    .map(({ metadata }) => metadata.name)
  expect(alone.length).toBeGreaterThan(0)
  for (const { kind, spec, metadata } of workloads) {
    const volumes = (spec.template.spec.volumes ?? []) as { persistentVolumeClaim?: { claimName: string } }[]
    if (!volumes.some(({ persistentVolumeClaim: claim }) => claim !== undefined && alone.includes(claim.claimName)))
      continue
    expect({ name: metadata.name, kind, replicas: spec.replicas, strategy: spec.strategy }).toEqual({
      name: metadata.name,
      kind: 'Deployment',
      replicas: 1,
      strategy: { type: 'Recreate' },
    })
  }
})

test('to apply the manifests again does not take gateways away that the scaler has added', () => {
  const scaled = resources
    .filter(({ kind }) => kind === 'HorizontalPodAutoscaler')
    .map(({ spec }) => spec.scaleTargetRef)
  expect(scaled).toHaveLength(1)
  for (const { kind, name } of scaled) {
    const target = workloads.find((one) => one.kind === kind && one.metadata.name === name)
    expect(target?.spec).not.toHaveProperty('replicas')
  }
})

test('a gateway keeps its disk, and is not taken away by a scaler', () => {
  const gateway = resources.find(({ kind }) => kind === 'StatefulSet')?.spec
  expect(gateway.persistentVolumeClaimRetentionPolicy).toEqual({ whenDeleted: 'Retain', whenScaled: 'Retain' })
  const scaler = resources.find(({ kind }) => kind === 'HorizontalPodAutoscaler')?.spec
  expect(scaler.behavior.scaleDown).toEqual({ selectPolicy: 'Disabled' })
  const [container] = gateway.template.spec.containers as Container[]
  const limit = Number(container?.env?.find(({ name }) => name === 'AGNES_SPOOL_MAX_BYTES')?.value)
  const claim = gateway.volumeClaimTemplates[0].spec.resources.requests.storage as string
  expect(limit).toBeLessThan(Number(claim.replace('Gi', '')) * 1024 ** 3)
  expect(container?.ports?.map(({ containerPort }) => String(containerPort))).toEqual([
    variables.AGNES_OTLP_PORT.default,
    variables.AGNES_OTLP_GRPC_PORT.default,
  ])
})
