/** Links into the timeline. What events carry may be a megabyte: nobody can follow such an address. */
import { type Html, html } from '../../html/html.ts'
import { queryOf } from '../../http/filter.ts'

/** Longer than any address people make; a filter's values are refused beyond 1,000 characters. */
const longestQuery = 1_500

/** @returns the label alone where the address would be too long */
export function activityLink(said: ReadonlyMap<string, string>, label: Html): Html {
  const query = queryOf(said)
  return query.length > longestQuery ? label : html`<a href="/admin/activity${query}">${label}</a>`
}
