import { defineConfig } from 'vitest/config'

// Tests against a real ClickHouse server and Grafana, in containers. Where no Docker runs they say so in one line.
export default defineConfig({
  resolve: { conditions: ['source'] },
  ssr: { resolve: { conditions: ['source'] } },
  test: {
    include: ['tests/containers/**/*.test.ts'],
    pool: 'forks',
    fileParallelism: false,
    // The first run pulls images.
    testTimeout: 300_000,
    hookTimeout: 900_000,
  },
})
