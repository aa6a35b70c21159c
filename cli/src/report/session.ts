/** The transcript a report is about: the one named, or the newest of the project this directory belongs to. */
import { readdirSync, realpathSync, statSync } from 'node:fs'
import { homedir } from 'node:os'
import path from 'node:path'
import { exitCodes, UserError } from '@agnes/config'

/** Where Claude Code keeps them. */
function claudeProjects(env: NodeJS.ProcessEnv): string {
  return path.join(env.CLAUDE_CONFIG_DIR || path.join(homedir(), '.claude'), 'projects')
}

/**
 * The newest transcript of the project of a directory: Claude Code may have been started above it.
 * @returns undefined if there is none
 */
export function currentSession(cwd: string, env: NodeJS.ProcessEnv): string | undefined {
  const projects = claudeProjects(env)
  for (let directory = realDirectory(cwd); ; directory = path.dirname(directory)) {
    const newest = newestIn(path.join(projects, projectName(directory)))
    if (newest !== undefined || directory === path.dirname(directory)) return newest
  }
}

/**
 * @param named path of a transcript, or the id of a session
 * @throws UserError (exit code 2) if there is none
 */
export function namedSession(named: string, env: NodeJS.ProcessEnv): string {
  if (isFile(named)) return named
  // An id is the name of a file in one of the projects; anything with a path in it is not.
  if (/^[\w.-]+$/.test(named)) {
    const projects = claudeProjects(env)
    for (const project of foldersIn(projects)) {
      const file = path.join(projects, project, `${named.replace(/\.jsonl$/, '')}.jsonl`)
      if (isFile(file)) return file
    }
  }
  throw new UserError(`there is no session ${named}`, {
    code: 'no_session',
    exitCode: exitCodes.usage,
    hint: `name a .jsonl file or the id of a session below ${claudeProjects(env)}, or send none: --no-session`,
  })
}

/** As Claude Code names a project's folder: whatever is no letter or digit becomes a dash. */
function projectName(directory: string): string {
  return directory.replace(/[^A-Za-z0-9]/g, '-')
}

function newestIn(folder: string): string | undefined {
  let newest: { readonly file: string; readonly at: number } | undefined
  for (const name of foldersIn(folder)) {
    // Those of sub-agents lie beside them.
    if (!name.endsWith('.jsonl') || name.startsWith('agent-') || name.startsWith('.')) continue
    const file = path.join(folder, name)
    const stats = statSync(file, { throwIfNoEntry: false })
    if (stats?.isFile() && stats.size > 0 && (newest === undefined || stats.mtimeMs > newest.at)) {
      newest = { file, at: stats.mtimeMs }
    }
  }
  return newest?.file
}

function foldersIn(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}

function isFile(file: string): boolean {
  try {
    return statSync(file).isFile()
  } catch {
    return false
  }
}

function realDirectory(directory: string): string {
  try {
    return realpathSync(directory)
  } catch {
    return path.resolve(directory)
  }
}
