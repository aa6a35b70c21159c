/** The health pulse for everybody who looks: asked at most once in thirty seconds for each tenant. */
import { type ClickHouseClient, fetchHealth, type HealthPulse } from '@agnes/clickhouse'

export type PulseOf = (tenant: string) => Promise<HealthPulse>

const freshMs = 30_000

/** @param nowMs monotonic clock, milliseconds */
export function createPulse(client: ClickHouseClient, nowMs: () => number = () => performance.now()): PulseOf {
  const kept = new Map<string, { readonly atMs: number; readonly pulse: Promise<HealthPulse> }>()
  return (tenant) => {
    const known = kept.get(tenant)
    if (known !== undefined && nowMs() - known.atMs < freshMs) return known.pulse
    // Whoever asks while the answer is on its way waits for that one.
    const pulse = fetchHealth(client, { tenant })
    const entry = { atMs: nowMs(), pulse }
    kept.set(tenant, entry)
    pulse.catch(() => {
      if (kept.get(tenant) === entry) kept.delete(tenant)
    })
    return pulse
  }
}
