import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { UserError } from '@agnes/config'
import { afterAll, describe, expect, test } from 'vitest'
import { loadRules } from './rules.ts'

const directory = mkdtempSync(path.join(tmpdir(), 'agnes-rules-'))
afterAll(() => rmSync(directory, { recursive: true }))

let files = 0
function fileWith(text: string): string {
  const file = path.join(directory, `rules-${++files}.yaml`)
  writeFileSync(file, text)
  return file
}

test('YAML and JSON say the same', async () => {
  const yaml = await loadRules(fileWith('disable: [jwt]\nkeys:\n  - id: iban\n    names: [iban, account number]\n'))
  const json = await loadRules(fileWith('{"disable":["jwt"],"keys":[{"id":"iban","names":["iban","account number"]}]}'))
  expect(yaml.hash).toEqual(json.hash)
})

test('an empty file changes nothing', async () => {
  expect((await loadRules(fileWith(''))).hash).toEqual((await loadRules(undefined)).hash)
})

const everyId =
  'password, secret, token, authorization, cookie, api_key, private_key, bearer_token, jwt, connection_password, telegram_token, agnes_key, aws_access_key, github_token, gitlab_token, google_api_key, llm_api_key, npm_token, huggingface_token, slack_token, stripe_key, card_number'

describe('P41 a file that cannot be meant is refused, with the place and the way out', () => {
  test.each([
    ['no YAML', 'keys: [', 'is not YAML or JSON'],
    ['a list', '- a', 'the file: '],
    ['an unknown field', 'key: []', 'Unrecognized key'],
    ['an unknown rule', 'disable: [jwts]', 'there is no built-in rule "jwts"'],
    ['a wrong type', 'keys: 5', 'keys: '],
    ['a bad id', 'patterns: [{id: "A b", pattern: x}]', 'patterns.0.id: an id has 1 to 32'],
    ['a short name', 'keys: [{id: a, names: [id]}]', 'keys.0.names.0: a name has at least 3'],
    ['a name of short words', 'keys: [{id: a, names: [a b c]}]', 'keys.0.names.0: a name has a word of at least 3'],
    ['a name with other characters', 'keys: [{id: a, names: ["größe"]}]', 'ASCII letters'],
    ['a needle that is too short', 'patterns: [{id: a, pattern: ab, contains: [ab]}]', 'at least 3'],
    ['a pattern with look-around', 'patterns: [{id: a, pattern: "(?<=x)y"}]', 'RE2 syntax'],
    ['a pattern that does not close', 'patterns: [{id: a, pattern: "(x"}]', 'RE2 syntax'],
    ['a pattern that matches nothing', 'patterns: [{id: a, pattern: "x*"}]', 'matches the empty text'],
    ['a pattern of ten megabytes', `patterns: [{id: a, pattern: "${'x'.repeat(10_000_000)}"}]`, 'is larger than'],
    ['a pattern that is too long', `patterns: [{id: a, pattern: "${'x'.repeat(2_000)}"}]`, 'patterns.0.pattern'],
    ['a bomb of aliases', 'a: &a [x,x]\nb: &b [*a,*a]\nkeys: [*b,*b]', 'AGNES_REDACTION_RULES'],
    ['no rule at all', `disable: [${everyId}]`, 'leaves no rule'],
  ])('%s', async (_what, text, problem) => {
    const file = fileWith(text)
    const refused = await loadRules(file).then(
      () => undefined,
      (error: unknown) => error,
    )
    expect(refused).toBeInstanceOf(UserError)
    expect(refused).toMatchObject({
      message: expect.stringContaining(`AGNES_REDACTION_RULES=${file}`),
      exitCode: 2,
      hint: expect.any(String),
    })
    expect((refused as UserError).message).toContain(problem)
  })

  test('a file that is not there', async () => {
    await expect(loadRules(path.join(directory, 'missing.yaml'))).rejects.toThrow('cannot be read')
  })
})
