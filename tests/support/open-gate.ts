/** The gate of a gateway on loopback that knows no key. */

import { createGate } from '../../ingest-gateway/src/auth/gate.ts'
import { createQuotas } from '../../ingest-gateway/src/auth/quota.ts'

export const openGate = createGate({
  open: true,
  log: () => {},
  quotas: createQuotas({ tenantRates: { recordsPerSecond: 0, bytesPerSecond: 0 }, nowMs: () => 0 }),
  ring: {
    find: () => ({ kind: 'unknown' }),
    findAgain: () => ({ kind: 'unknown' }),
    has: () => false,
    asked: Promise.resolve(),
    askNow: () => Promise.resolve(),
    stats: () => ({ keys: 0, ageSeconds: undefined, failure: undefined }),
    stop: async () => {},
  },
})
