/** `npm run eval:findings -- DIR`: what the failure scan finds in a folder of transcripts, and how well. */
import { stat } from 'node:fs/promises'
import { evaluateFolder, formatEvaluation } from '@agnes/processors'

const [folder, ...rest] = process.argv.slice(2)
const isFolder = folder !== undefined && (await stat(folder).catch(() => undefined))?.isDirectory()
if (!isFolder || rest.length > 0) {
  console.error(
    folder === undefined || rest.length > 0
      ? 'eval:findings: give one folder of transcripts: npm run eval:findings -- ~/.claude/projects'
      : `eval:findings: ${folder} is no folder`,
  )
  process.exitCode = 2
} else {
  try {
    console.log(formatEvaluation(await evaluateFolder(folder)))
  } catch (error) {
    console.error(`eval:findings: ${error instanceof Error ? error.message : error}`)
    process.exitCode = 1
  }
}
