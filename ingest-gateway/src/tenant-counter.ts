/** Records, counted by tenant: the account of each of them closes (P37), and totals follow from the same figures. */

/** Records by tenant; under '' those of segments that are not read back yet, whose tenants nobody knows. */
export type RecordsByTenant = ReadonlyMap<string, number>

export interface TenantCounter {
  readonly total: number
  /** Tenants that ever had a record, those with none left among them. */
  readonly byTenant: RecordsByTenant
  /** @param records fewer than 0 to take them away */
  add(tenant: string, records: number): void
  addAll(records: RecordsByTenant): void
  takeAll(records: RecordsByTenant): void
}

export function createTenantCounter(): TenantCounter {
  const byTenant = new Map<string, number>()
  let total = 0

  function add(tenant: string, records: number): void {
    total += records
    byTenant.set(tenant, (byTenant.get(tenant) ?? 0) + records)
  }

  return {
    get total() {
      return total
    },
    byTenant,
    add,
    addAll(records) {
      for (const [tenant, count] of records) add(tenant, count)
    },
    takeAll(records) {
      for (const [tenant, count] of records) add(tenant, -count)
    },
  }
}
