/** What a gateway's `/metrics` say of records: each tenant's account closes at rest (P37). */
import { expect } from 'vitest'

const ways = ['received', 'recovered', 'stored', 'duplicate', 'rejected', 'quarantined', 'spool'] as const
/** Records by what became of them; `spool`: those that are on disk. */
export type Account = Readonly<Record<(typeof ways)[number], number>>

/** @param text a page in Prometheus' format @returns accounts by tenant */
export function accountsOf(text: string): Record<string, Account> {
  const accounts: Record<string, Account> = {}
  const samples = /^agnes_(?:[a-z]+_)?([a-z]+)_records(?:_total)?\{tenant="([^"]*)"\} (\d+)$/gm
  for (const [, way = '', tenant = '', records] of text.matchAll(samples)) {
    const nothing = Object.fromEntries(ways.map((name) => [name, 0])) as Account
    accounts[tenant] = { ...nothing, ...accounts[tenant], [way]: Number(records) }
  }
  return accounts
}

/** @returns accounts by tenant */
export function expectAccountsClose(text: string): Record<string, Account> {
  const accounts = accountsOf(text)
  expect(Object.keys(accounts), 'tenants').not.toEqual([])
  for (const [tenant, account] of Object.entries(accounts)) {
    const { received, recovered, stored, duplicate, rejected, quarantined, spool } = account
    expect(received + recovered, `the account of "${tenant}" closes: ${JSON.stringify(account)}`).toBe(
      stored + duplicate + rejected + quarantined + spool,
    )
  }
  return accounts
}
