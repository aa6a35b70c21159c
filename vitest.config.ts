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
    // Vitest would leave one core of two alone, and most tests wait: for a disk, an engine, a process that starts.
    maxWorkers: Math.max(2, availableParallelism()),
    testTimeout: 120_000,
    hookTimeout: 180_000,
  },
})
