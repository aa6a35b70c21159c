/** Random keys that must be the same after a restart: what was made with them lies on disk. */
import { randomBytes } from 'node:crypto'
import { closeSync, fsyncSync, openSync, readFileSync, writeSync } from 'node:fs'

/**
 * The key in a file, made on first use and readable by its owner only.
 * A file of another length is replaced: it is what an interrupted first use left.
 * @throws the file system's errors
 */
export function loadKeyFile(file: string, bytes: number): Uint8Array {
  try {
    const key = readFileSync(file)
    if (key.length === bytes) return key
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
  const key = randomBytes(bytes)
  const target = openSync(file, 'w', 0o600)
  try {
    writeSync(target, key)
    fsyncSync(target)
  } finally {
    closeSync(target)
  }
  return key
}
