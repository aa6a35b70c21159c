import fc from 'fast-check'
import { expect, test } from 'vitest'
import { lexSql, splitStatements } from './split.ts'

test.each([
  ["SELECT ';'; SELECT 2", ["SELECT ';'", 'SELECT 2']],
  ["SELECT 'it''s;'; SELECT 'a\\';b'", ["SELECT 'it''s;'", "SELECT 'a\\';b'"]],
  ['SELECT `a;b`, "c;d"; SELECT 2', ['SELECT `a;b`, "c;d"', 'SELECT 2']],
  ['SELECT 1 -- not; here\n; SELECT /* nor ; here */ 2', ['SELECT 1 -- not; here', 'SELECT /* nor ; here */ 2']],
  ['SELECT $tag$ ; $tag$; SELECT $$;$$', ['SELECT $tag$ ; $tag$', 'SELECT $$;$$']],
  ['-- only a comment;\n', []],
  [';;  ;', []],
  ["SELECT 'never closed; SELECT 2", ["SELECT 'never closed", 'SELECT 2']],
])('%j', (sql, statements) => {
  expect(splitStatements(sql)).toEqual(statements)
})

test('no character of any text is lost', () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom(...'\'"`;$-/*#\\\n a1') }), (sql) => {
      expect(
        lexSql(sql)
          .map(({ text }) => text)
          .join(''),
      ).toBe(sql)
    }),
  )
})

test('statements made of harmless pieces come back one by one', () => {
  const piece = fc.constantFrom("';'", '`;`', '";"', '/*;*/', '--;\n', '$$;$$', 'SELECT', '1')
  const statement = fc.array(piece, { maxLength: 6 }).map((pieces) => ['SELECT', ...pieces].join(' ').trim())
  fc.assert(
    fc.property(fc.array(statement, { maxLength: 5 }), (statements) => {
      expect(splitStatements(statements.join('\n;\n'))).toEqual(statements)
    }),
  )
})
