/**
 * Transcripts that Claude Code leaves on this machine: `<projects>/<project>/<session>.jsonl`, and those of sub-agents,
 * `agent-*.jsonl`, beside them or in a folder of the session. Other files that end in `.jsonl` are none.
 */
import { readdir, stat } from 'node:fs/promises'
import { homedir } from 'node:os'
import path from 'node:path'
import { UserError } from '@agnes/config'

export interface FoundSession {
  readonly path: string
  /** Name of the file without `.jsonl`. */
  readonly session: string
  readonly bytes: number
  readonly changedAt: Date
}

/** Where Claude Code keeps them. */
export function claudeProjects(env: NodeJS.ProcessEnv = process.env): string {
  return path.join(env.CLAUDE_CONFIG_DIR || path.join(homedir(), '.claude'), 'projects')
}

/**
 * Transcripts below a directory, or the files that are named; the ones that changed last come first.
 * @throws UserError if one that is named does not exist
 */
export async function findSessions(paths: readonly string[]): Promise<FoundSession[]> {
  const found = new Map<string, FoundSession>()
  for (const named of paths) {
    const isDirectory = await stat(named).then(
      (stats) => stats.isDirectory(),
      (error: Error) => {
        throw new UserError(`cannot read ${named}: ${error.message}`, {
          code: 'no_sessions',
          hint: 'name a directory or .jsonl files, or set CLAUDE_CONFIG_DIR if Claude Code keeps its files elsewhere',
          cause: error,
        })
      },
    )
    for (const file of isDirectory ? await transcriptsBelow(named) : [named]) {
      const session = await describe(path.resolve(file))
      if (session !== undefined) found.set(session.path, session)
    }
  }
  return [...found.values()].sort((a, b) => b.changedAt.getTime() - a.changedAt.getTime())
}

async function transcriptsBelow(directory: string): Promise<string[]> {
  // Links are not followed: one that points upwards would never end.
  const entries = await readdir(directory, { withFileTypes: true, recursive: true })
  return entries
    .filter((entry) => {
      if (!entry.isFile() || !entry.name.endsWith('.jsonl') || entry.name.startsWith('.')) return false
      const depth = path.relative(directory, entry.parentPath).split(path.sep).filter(Boolean).length
      return depth <= 1 || entry.name.startsWith('agent-')
    })
    .map((entry) => path.join(entry.parentPath, entry.name))
}

/** undefined if it is gone meanwhile, or empty. */
async function describe(file: string): Promise<FoundSession | undefined> {
  const stats = await stat(file).catch(() => undefined)
  if (stats === undefined || stats.size === 0) return undefined
  return { path: file, session: path.basename(file, '.jsonl'), bytes: stats.size, changedAt: stats.mtime }
}
