import { defineConfig } from 'vitest/config'

// Fault tests that take minutes: kill loops, power cuts, full disks, and proof that they notice what they should.
// FAULT_ROUNDS sets how often (100 by default).
export default defineConfig({
  resolve: { conditions: ['source'] },
  ssr: { resolve: { conditions: ['source'] } },
  test: {
    include: [
      'tests/faults/long/**/*.test.ts',
      'ingest-gateway/src/spool/crash.test.ts',
      'processors/src/restart.test.ts',
    ],
    env: { FAULT_ROUNDS: process.env.FAULT_ROUNDS ?? '100' },
    pool: 'forks',
    // They measure, and each has processes of its own.
    fileParallelism: false,
    testTimeout: 3_600_000,
    hookTimeout: 120_000,
  },
})
