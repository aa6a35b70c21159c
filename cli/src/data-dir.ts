/** The directory of everything a service keeps on this machine. */
import { mkdirSync } from 'node:fs'
import { type Config, UserError } from '@agnes/config'

/** @throws UserError if it is not there and cannot be made */
export function createDataDir({ dataDir }: Pick<Config, 'dataDir'>): void {
  try {
    mkdirSync(dataDir, { recursive: true, mode: 0o700 })
  } catch (error) {
    throw new UserError(`cannot create the data directory ${dataDir}: ${(error as Error).message}`, {
      code: 'data_directory',
      hint: 'make its parent writable for this user, or set AGNES_DATA_DIR',
      cause: error,
    })
  }
}
