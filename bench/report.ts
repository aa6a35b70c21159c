/** Tables on the screen, JSON in bench/results. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import path from 'node:path'

export interface Figure {
  readonly name: string
  readonly value: number
  readonly unit: string
  /** What we set out to reach; the bench says whether it was. */
  readonly goal?: { readonly atMost: number } | { readonly atLeast: number }
}

export function report(bench: string, figures: readonly Figure[]): void {
  console.log(`\n${bench}`)
  for (const { name, value, unit, goal } of figures) {
    const shown = value.toLocaleString('en-US', { maximumFractionDigits: value < 100 ? 2 : 0 })
    console.log(
      `  ${name.padEnd(52)} ${shown.padStart(12)} ${unit.padEnd(10)} ${goal === undefined ? '' : verdict(value, goal)}`,
    )
  }
  const directory = path.join(import.meta.dirname, '..', 'results')
  mkdirSync(directory, { recursive: true })
  const machine = { cpu: cpus()[0]?.model, cores: cpus().length, node: process.version }
  writeFileSync(path.join(directory, `${bench}.json`), `${JSON.stringify({ bench, machine, figures }, null, 2)}\n`)
}

function verdict(value: number, goal: { atMost: number } | { atLeast: number }): string {
  if ('atMost' in goal)
    return `goal ≤ ${goal.atMost.toLocaleString('en-US')} ${value <= goal.atMost ? 'reached' : 'MISSED'}`
  return `goal ≥ ${goal.atLeast.toLocaleString('en-US')} ${value >= goal.atLeast ? 'reached' : 'MISSED'}`
}

/** The q-quantile (0 … 1) of some numbers, by the nearest rank. */
export function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.ceil(q * sorted.length) - 1)] ?? Number.NaN
}
