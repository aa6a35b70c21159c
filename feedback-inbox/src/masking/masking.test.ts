import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { changesOf } from './changes.ts'
import { maskParams, maskText, parseJson } from './params.ts'
import { isSql, maskSql } from './sql.ts'

const options = { longestText: 200 }

describe('SQL is shown without its literals', () => {
  test.each([
    ["select * from t where name = 'Ada' and n > 7", 'select * from t where name = ? and n > ?'],
    ["SELECT 'it''s', E'a\\'b', N'x' FROM t2", 'SELECT ?, ?, ? FROM t2'],
    ['update "Users" set mail = "ada lovelace" where `id` = 12', 'update "Users" set mail = ? where `id` = ?'],
    ['select $1, @p2, $body$secret$body$, 1.5e3, 0xCAFE', 'select $1, @p2, ?, ?, ?'],
    ["select 1 -- for Ada\nfrom t /* Ada's */", 'select ? \nfrom t '],
    ["select * from t where name = 'Ada", 'select * from t where name = ?'],
    ["select * from t where name = 'Ada\\", 'select * from t where name = ?'],
  ])('%s', (sql, masked) => {
    expect(maskSql(sql)).toBe(masked)
  })

  test('wherever it stands: under a key that says so, as a statement, quoted in an error', () => {
    const masked = maskParams(
      JSON.stringify({ sql: "name = 'Ada'", deep: [{ text: "/* x */ (select 'Ada')" }], note: "Ada's note", n: 7 }),
      options,
    )
    expect(masked).toEqual({
      sql: 'name = ?',
      deep: [{ text: '/* x */ (select ?)'.replace('/* x */', '') }],
      note: "Ada's note",
      n: 7,
    })
    expect(maskText("no such column in select * from t where a = 'Ada'", '', options)).not.toContain('Ada')
  })

  test('no literal is left, whatever stands in it', () => {
    const text = fc.string({ unit: 'grapheme' }).map((value) => `${value}SECRET`)
    fc.assert(
      fc.property(fc.array(text, { minLength: 1, maxLength: 5 }), (values) => {
        const sql = `select ${values.map((value) => `'${value.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`).join(', ')} from t`
        expect(maskSql(sql)).not.toContain('SECRET')
      }),
    )
  })

  test.each([
    ['comments', '/**/'.repeat(250_000)],
    ['open comments', '/*'.repeat(500_000)],
    ['quotes', "'".repeat(1_000_001)],
    ['backslashes', `'${'\\'.repeat(1_000_001)}`],
    ['double quotes', '"'.repeat(1_000_001)],
    ['dollars', '$a'.repeat(500_000)],
    ['digits', '1'.repeat(1_000_000)],
    ['selects', 'select '.repeat(150_000)],
    ['blanks', `insert${' '.repeat(1_000_000)}`],
  ])('a megabyte of %s is looked at within a second', (_name, text) => {
    const start = performance.now()
    isSql(text)
    maskSql(text)
    maskText(text, 'sql', options)
    expect(performance.now() - start).toBeLessThan(1_000)
  })
})

describe('params', () => {
  test('that are no JSON, nested a hundred thousand deep, or empty, are shown as text or not at all', () => {
    expect(maskParams('{oops', options)).toBe('{oops')
    expect(maskParams('', options)).toBeNull()
    const deep = `${'['.repeat(100_000)}${']'.repeat(100_000)}`
    expect(parseJson(deep)).toBeUndefined()
    expect(maskParams(deep, options)).toMatch(/^\[{200}… \(199,800 more characters\)$/)
  })

  test('with long texts are cut, and say by how much', () => {
    expect(maskParams(JSON.stringify({ note: 'x'.repeat(1_000) }), options)).toEqual({
      note: `${'x'.repeat(200)}… (800 more characters)`,
    })
  })
})

test('a change tells what was added, removed and replaced, path by path', () => {
  const before = { limits: { rows: 10, bytes: 5 }, tags: ['a', 'b'], gone: true }
  const after = { limits: { rows: 20, bytes: 5 }, tags: ['a'], fresh: null }
  expect(changesOf(before, after)).toEqual([
    { path: 'limits.rows', kind: 'changed', before: 10, after: 20 },
    { path: 'limits.bytes', kind: 'same', before: 5, after: 5 },
    { path: 'tags[0]', kind: 'same', before: 'a', after: 'a' },
    { path: 'fresh', kind: 'added', before: undefined, after: null },
    { path: 'tags[1]', kind: 'removed', before: 'b', after: undefined },
    { path: 'gone', kind: 'removed', before: true, after: undefined },
  ])
  expect(changesOf('old', { now: 1 })).toEqual([
    { path: 'now', kind: 'added', before: undefined, after: 1 },
    { path: '', kind: 'removed', before: 'old', after: undefined },
  ])
})
