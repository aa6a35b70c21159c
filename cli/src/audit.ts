/** Changes made by a command, as audit events sent to the gateway. The change counts with or without them. */
import { hostname, userInfo } from 'node:os'
import type { ApiKey } from '@agnes/clickhouse'
import { type Config, loadConfig } from '@agnes/config'
import type { Recorder } from '@agnes/instrumentation'
import type { SessionRun } from '@agnes/processors'
import { askGateway, toGateway } from './gateway-client.ts'
import { findInstance } from './instance.ts'
import { version } from './version.ts'

export type AuditFields = Parameters<Recorder['audit']>[0]

/** What was done to a key; nothing of its secret. */
export function keyAudit(
  action: 'keys.create' | 'keys.revoke' | 'keys.rotate',
  key: ApiKey,
  before?: ApiKey,
): AuditFields {
  return {
    action,
    resource: `key:${key.id}`,
    result: 'success',
    clientKind: 'cli',
    params: { ...describeKey(key), by: whoami() },
    ...(before === undefined ? {} : { paramsBefore: describeKey(before) }),
  }
}

/** A key as people see it: neither secret nor hash. */
export function describeKey(key: ApiKey) {
  const { id, tenant, project, scopes, note, secretEnd, formerSecrets, recordsPerSecond, bytesPerSecond } = key
  return {
    id,
    tenant,
    ...(project === '' ? {} : { project }),
    scopes,
    ...(note === '' ? {} : { note }),
    secretEnd,
    createdAt: key.createdAt.toISOString(),
    ...(key.expiresAt && { expiresAt: key.expiresAt.toISOString() }),
    ...(key.revokedAt && { revokedAt: key.revokedAt.toISOString() }),
    ...(formerSecrets.length === 0
      ? {}
      : { formerSecretsValidUntil: formerSecrets.map(({ validUntil }) => validUntil.toISOString()) }),
    ...(recordsPerSecond === 0 ? {} : { recordsPerSecond }),
    ...(bytesPerSecond === 0 ? {} : { bytesPerSecond }),
  }
}

/**
 * Sends an audit event within a few seconds. Never throws.
 * @returns whether the gateway has it
 */
export async function audit(fields: AuditFields, config: Config = loadConfig().config): Promise<boolean> {
  try {
    return await emit(config, (recorder) => recorder.audit(fields))
  } catch {
    return false
  }
}

/** Sends the event of each run of a processor, within some seconds. Never throws; what was processed is processed. */
export async function recordRuns(runs: readonly SessionRun[], config: Config = loadConfig().config): Promise<void> {
  if (runs.length === 0) return
  try {
    const { eventOf } = await import('@agnes/processors')
    await emit(config, (recorder) => {
      for (const run of runs) recorder.sessionProcessor(eventOf(run))
    })
  } catch {}
}

/** @returns whether the gateway has all of it @throws if it does not answer */
async function emit(config: Config, record: (recorder: Recorder) => void): Promise<boolean> {
  const { otlpUrl } = findInstance(config)
  await askGateway(`${otlpUrl}/readyz`, config)
  const { startTelemetry } = await import('@agnes/instrumentation')
  const telemetry = startTelemetry({
    serviceName: 'agnes',
    serviceVersion: version,
    endpoint: otlpUrl,
    ...toGateway(config),
    maxQueueSize: 50_000,
    warn: () => {},
  })
  record(telemetry.recorder)
  await telemetry.shutdown()
  const { dropped, undelivered } = telemetry.stats()
  return dropped + undelivered === 0
}

/** Who is logged in on this machine; an id in Agnes' users table it is not. */
export function whoami(): string {
  try {
    return `${userInfo().username}@${hostname()}`
  } catch {
    return `unknown@${hostname()}`
  }
}
