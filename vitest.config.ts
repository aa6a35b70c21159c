import { availableParallelism } from 'node:os'
import { defineConfig } from 'vitest/config'

// In-process imports of rooms resolve to their sources; child processes run what `tsc -b` built.
export default defineConfig({
  resolve: { conditions: ['source'] },
  ssr: { resolve: { conditions: ['source'] } },
  test: {
    include: ['*/src/**/*.test.ts', 'tests/**/*.test.ts'],
    exclude: ['**/dist/**', '**/node_modules/**', 'tests/faults/long/**'],
    pool: 'forks',
    // Vitest would leave one core of two alone, and most tests wait: for a disk, an engine, a process that starts. With one
    // more than there are cores two of them passed the suite in 477 s instead of 577.
    maxWorkers: availableParallelism() + 1,
    testTimeout: 120_000,
    hookTimeout: 180_000,
  },
})
