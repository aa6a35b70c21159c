/** The catalogue of bad input is whole, and what it points at is there. */
import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { expect, test } from 'vitest'
import { repository } from '../support/agnes.ts'
import { elsewhere, notYet } from './catalogue.ts'

const cases = 130

const here = readdirSync(import.meta.dirname)
  .filter((name) => name.endsWith('.test.ts') && name !== 'catalogue.test.ts')
  .flatMap((name) => [
    ...readFileSync(path.join(import.meta.dirname, name), 'utf8').matchAll(/['"]#(\d+)|(?<=#\d+ )#(\d+)/g),
  ])
  .map(([, first, second]) => Number(first ?? second))

test('every case is tried, or says why it is not; none both', () => {
  const tried = new Set([...here, ...Object.keys(elsewhere).map(Number)])
  const untried = new Set(Object.keys(notYet).map(Number))
  const numbers = Array.from({ length: cases }, (_, i) => i + 1)
  expect(numbers.filter((number) => !tried.has(number) && !untried.has(number))).toEqual([])
  expect([...tried].filter((number) => untried.has(number) || number > cases)).toEqual([])
})

const references = Object.entries(elsewhere).flatMap(([number, places]) =>
  places.flatMap(({ file, titles }) => titles.map((title) => [number, file, title] as const)),
)

test.each(references)('%s stands in %s: %s', (_, file, title) => {
  const source = readFileSync(path.join(repository, file), 'utf8')
  expect([`'${title}'`, `"${title}"`].some((quoted) => source.includes(quoted))).toBe(true)
})
