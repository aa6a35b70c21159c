/** Random keys that must be the same after a restart: what was made with them lies on disk. */
import { randomBytes } from 'node:crypto'
import { closeSync, fsyncSync, openSync, readFileSync, writeSync } from 'node:fs'
import { exitCodes, UserError } from './errors.ts'

/**
 * The key in a file, made on first use and readable by its owner only. An empty file is what an interrupted first use
 * left; one of another length is somebody's, and stays as it is.
 * @param setting the variable that names the file, for the hint
 * @throws UserError if the file is no such key, or cannot be read or written
 */
export function loadKeyFile(file: string, bytes: number, setting: string): Uint8Array {
  try {
    return readKey(file, bytes, setting) ?? makeKey(file, bytes)
  } catch (error) {
    if (error instanceof UserError) throw error
    throw badKey(`cannot use the key file ${file}: ${(error as Error).message}`, setting, error)
  }
}

/** undefined: there is none yet. */
function readKey(file: string, bytes: number, setting: string): Uint8Array | undefined {
  let key: Buffer
  try {
    key = readFileSync(file)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
  if (key.length === 0) return undefined
  if (key.length !== bytes) throw badKey(`${file} holds ${key.length} bytes, but a key here has ${bytes}`, setting)
  return key
}

function makeKey(file: string, bytes: number): Uint8Array {
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

function badKey(problem: string, setting: string, cause?: unknown): UserError {
  const hint = `name a file that holds the key, or one that is not there yet (${setting})`
  return new UserError(problem, { code: 'bad_key_file', exitCode: exitCodes.usage, hint, cause })
}
