/** The pages of this place. */
import { type Html, html } from '../../html/html.ts'

const pages = [
  { id: 'list', path: '/admin/sessions', label: 'Sessions' },
  { id: 'heatmap', path: '/admin/sessions/heatmap', label: 'Findings by week' },
  { id: 'gaps', path: '/admin/sessions/gaps', label: 'Gaps' },
] as const

export function tabs(current: (typeof pages)[number]['id']): Html {
  return html`<nav class="tabs" aria-label="Sessions">${pages.map(
    ({ id, path, label }) =>
      html`<a class="tab" href="${path}"${id === current && html` aria-current="page"`}>${label}</a>`,
  )}</nav>`
}
