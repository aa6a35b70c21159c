/** Style sheet, script and icon of the pages. Their names hold a hash of their content, so that browsers may keep them for good. */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import path from 'node:path'

export interface Asset {
  readonly type: string
  readonly content: Buffer
}

export interface Assets {
  /** Paths as pages link them. */
  readonly css: string
  readonly js: string
  readonly icon: string
  find(name: string): Asset | undefined
}

/** Beside src and dist alike. */
const directory = path.join(import.meta.dirname, '..', '..', 'assets')

export function loadAssets(): Assets {
  const files = new Map<string, Asset>()
  const add = (file: string, type: string): string => {
    const content = readFileSync(path.join(directory, file))
    const hash = createHash('sha256').update(content).digest('hex').slice(0, 10)
    const name = file.replace('.', `-${hash}.`)
    files.set(name, { type, content })
    return `/assets/${name}`
  }
  return {
    css: add('inbox.css', 'text/css; charset=utf-8'),
    js: add('inbox.js', 'text/javascript; charset=utf-8'),
    icon: add('inbox.svg', 'image/svg+xml'),
    find: (name) => files.get(name),
  }
}
