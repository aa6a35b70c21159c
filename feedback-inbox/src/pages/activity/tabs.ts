/** The pages of this place. */
import { type Html, html } from '../../html/html.ts'

const pages = [
  { id: 'timeline', path: '/admin/activity', label: 'Timeline' },
  { id: 'sync', path: '/admin/activity/sync', label: 'Syncs' },
] as const

export function tabs(current: (typeof pages)[number]['id']): Html {
  return html`<nav class="tabs" aria-label="Activity">${pages.map(
    ({ id, path, label }) =>
      html`<a class="tab" href="${path}"${id === current && html` aria-current="page"`}>${label}</a>`,
  )}</nav>`
}
