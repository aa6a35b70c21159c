/**
 * What the pages can do beyond being read: they refresh themselves without losing the place, and show an event beside the
 * list. Without this script every link still leads somewhere.
 */

const keptRows = 300
const pendingMs = 1_500

/** The page as it is now, or undefined when the session is over. */
async function fetchPage(url) {
  const answer = await fetch(url, { headers: { accept: 'text/html' } })
  if (answer.redirected && new URL(answer.url).pathname === '/login') return undefined
  return new DOMParser().parseFromString(await answer.text(), 'text/html')
}

/** Somebody reads, marks or writes here right now. */
function isBusy(element) {
  const selection = document.getSelection()
  const marks = selection !== null && !selection.isCollapsed && selection.anchorNode !== null
  return element.contains(document.activeElement) || (marks && element.contains(selection.anchorNode))
}

/** New rows go on top; those that are there stay as they are, and what one looks at does not move. */
function growTable(now, next) {
  const body = now.tBodies[0]
  const known = new Set([...body.rows].map((row) => row.dataset.key))
  const fresh = [...next.tBodies[0].rows].filter((row) => !known.has(row.dataset.key))
  if (fresh.length === 0) return
  const seen = [...body.rows].find((row) => row.getBoundingClientRect().bottom > 0)
  const before = seen?.getBoundingClientRect().top ?? 0
  for (const row of fresh) row.classList.add('fresh')
  body.prepend(...fresh.map((row) => document.importNode(row, true)))
  const moved = (seen?.getBoundingClientRect().top ?? 0) - before
  if (now.getBoundingClientRect().top < 0 && moved !== 0) window.scrollBy(0, moved)
  while (body.rows.length > keptRows) body.rows[body.rows.length - 1].remove()
}

function takeOver(page) {
  for (const now of document.querySelectorAll('[data-live]')) {
    const next = page.querySelector(`[data-live="${now.dataset.live}"]`)
    if (next === null) continue
    if (now.dataset.live === 'timeline' && now.tBodies && next.tBodies) growTable(now, next)
    else if (!isBusy(now) && now.outerHTML !== next.outerHTML) now.replaceWith(document.importNode(next, true))
  }
}

function keepFresh(place) {
  const everyMs = Number(place.dataset.refresh) * 1000
  const status = document.createElement('div')
  status.className = 'status'
  const text = status.appendChild(document.createElement('span'))
  const button = status.appendChild(document.createElement('button'))
  button.className = 'quiet'
  button.type = 'button'
  ;(document.querySelector('.tabs') ?? place).append(status)
  let paused = sessionStorage.getItem('paused') === 'yes'
  let timer

  function plan() {
    clearTimeout(timer)
    const isPending = document.querySelector('[data-pending]') !== null
    if (!paused) timer = setTimeout(refresh, isPending ? pendingMs : everyMs)
    button.textContent = paused ? 'Go on' : 'Pause'
  }

  async function refresh() {
    if (document.hidden) return plan()
    try {
      const page = await fetchPage(location.href)
      if (page === undefined) {
        text.textContent = 'You are logged out; reload the page to log in.'
        button.remove()
        return
      }
      takeOver(page)
      text.textContent = `Looked at ${new Date().toISOString().slice(11, 19)} UTC`
    } catch {
      text.textContent = 'The inbox does not answer; trying again.'
    }
    plan()
  }

  button.addEventListener('click', () => {
    paused = !paused
    sessionStorage.setItem('paused', paused ? 'yes' : 'no')
    if (paused) plan()
    else void refresh()
  })
  document.addEventListener('visibilitychange', () => {
    if (!document.hidden && !paused) void refresh()
  })
  text.textContent = paused ? 'Paused' : `Looks again every ${place.dataset.refresh} s`
  plan()
}

/** The event beside the list, in a dialog: Esc closes it and leads back to the row. */
function openBeside(link) {
  const drawer = document.createElement('dialog')
  drawer.className = 'drawer'
  drawer.setAttribute('aria-label', 'Event')
  const bar = drawer.appendChild(document.createElement('p'))
  bar.className = 'drawer-bar'
  const whole = bar.appendChild(document.createElement('a'))
  whole.href = link.href
  whole.textContent = 'Open as a page'
  const close = bar.appendChild(document.createElement('button'))
  close.className = 'quiet'
  close.textContent = 'Close'
  close.addEventListener('click', () => drawer.close())
  const row = link.closest('tr')
  row?.classList.add('opened')
  drawer.addEventListener('close', () => {
    row?.classList.remove('opened')
    drawer.remove()
    link.focus()
  })
  drawer.addEventListener('click', (event) => {
    if (event.target === drawer) drawer.close()
  })
  document.body.append(drawer)
  drawer.showModal()
  fetchPage(link.href).then(
    (page) => {
      const detail = page?.querySelector('#detail')
      if (detail === null || detail === undefined) location.assign(link.href)
      else drawer.append(document.importNode(detail, true))
    },
    () => location.assign(link.href),
  )
}

function opensBeside(event) {
  if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey)
    return
  if (!(event.target instanceof Element)) return
  const row = event.target.closest('.timeline tbody tr')
  if (row === null || row.closest('.drawer') !== null || row.closest('.detail') !== null) return
  const link = row.querySelector('.time-link')
  const other = event.target.closest('a, button')
  if (link === null || (other !== null && other !== link)) return
  if (!document.getSelection().isCollapsed) return
  event.preventDefault()
  openBeside(link)
}

/** `/` goes to the search, j and k along the rows. */
function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return
  if (event.target instanceof Element && event.target.closest('input, select, textarea, dialog') !== null) return
  if (event.key === '/') {
    const search = document.querySelector('.search')
    if (search === null) return
    event.preventDefault()
    search.focus()
  } else if (event.key === 'j' || event.key === 'k') {
    const links = [...document.querySelectorAll('.timeline .time-link')]
    const at = links.indexOf(document.activeElement)
    links[Math.max(0, Math.min(links.length - 1, at + (event.key === 'j' ? 1 : -1)))]?.focus()
  }
}

const place = document.querySelector('[data-refresh]')
if (place !== null) keepFresh(place)
document.addEventListener('click', opensBeside)
document.addEventListener('keydown', onKey)
