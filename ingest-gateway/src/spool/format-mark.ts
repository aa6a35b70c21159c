/**
 * Which format the segments of a spool are in: a file beside them says so. By their own bytes a newer format could not be
 * told from damage, and what is taken for damage is set aside.
 */
import path from 'node:path'
import { exitCodes, UserError } from '@agnes/config'
import { readWhole, replaceFile, type SpoolFs } from './file-system.ts'
import { firstSeqOf } from './segment-file.ts'

/** The one this release writes; it reads this and those before it. */
export const segmentFormat = 2
const markName = 'format'

/**
 * Marks the spool as one of this release.
 * @param names what the directory holds
 * @throws UserError (exit code 3) if segments of a newer release wait in it
 */
export async function markFormat(fs: SpoolFs, directory: string, names: readonly string[]): Promise<void> {
  const file = path.join(directory, markName)
  const mark = names.includes(markName) ? await readMark(fs, file) : undefined
  if (mark === segmentFormat) return
  if (mark !== undefined && mark > segmentFormat && names.some((name) => firstSeqOf(name) !== undefined)) {
    throw new UserError(
      `the spool in ${directory} has segments of a newer release (format ${mark}; this one reads up to ${segmentFormat})`,
      {
        code: 'spool_format',
        exitCode: exitCodes.refused,
        hint: 'start the newer release once more: when "agnes spool list" shows no segment with records, nothing waits, and the file "format" there may be deleted',
      },
    )
  }
  // A disk without room for two bytes is no reason not to start; the next start marks it.
  await replaceFile(fs, file, [Buffer.from(`${segmentFormat}\n`)]).catch(() => {})
}

/** @returns undefined for what is no number: nothing but damage writes that */
async function readMark(fs: SpoolFs, file: string): Promise<number | undefined> {
  const [, digits] = /^(\d{1,6})\n$/.exec((await readWhole(fs, file)).toString('latin1')) ?? []
  return digits === undefined ? undefined : Number(digits)
}
