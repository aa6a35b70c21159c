/**
 * Which contents of a file are versions, and what they are called.
 *
 * A version goes on under its name as long as nothing else follows on its end. Where two contents part, the one that finds
 * the other there takes the name of its own first line that differs. Lines are stored before this looks, by everyone; so of
 * two uploads at the same instant, through whatever gateways, at least one sees the other, and no two contents ever share
 * a name. When both see it both take new names, and the version they went on from, which both hold whole, is not listed.
 *
 * It rests on a row being visible to all once its insert was answered, as it is on one server or one replica.
 */
import type { Buffer } from 'node:buffer'
import {
  type ClickHouseClient,
  fetchForks,
  fetchPath,
  fetchSessionFiles,
  insertSessionFiles,
  mainVersion,
  type SessionFile,
  type SessionKey,
  type SessionSource,
} from '@agnes/clickhouse'
import type { Path, UploadResult } from './upload.ts'

export interface Commit {
  readonly client: ClickHouseClient
  readonly key: SessionKey
  readonly source: SessionSource
  /** To the last line that was stored. */
  readonly path: Path
  readonly firstReceivedAt: Date
  readonly receivedAt: Date
  readonly maxVersions: number
}

type Committed = Pick<UploadResult, 'version' | 'outcome'>

/** Too many contents for one file. */
export class TooManyVersionsError extends Error {}

/** Makes all lines of the path part of a version, if they are not yet. Resolves when that is on disk. */
export async function commitVersion(commit: Commit): Promise<Committed> {
  const { client, key, path, firstReceivedAt } = commit
  const end = path.lines()
  if (end === 0) return { version: mainVersion, outcome: 'unchanged' }
  const known = await fetchSessionFiles(client, key)
  const before = longestOf(known.filter((file) => isOn(path, file)))
  if (before?.lines === end) return { version: before.version, outcome: 'unchanged' }
  const holder = await findHolder(commit, known, before)
  if (holder !== undefined) return { version: holder, outcome: 'unchanged' }

  const from = before?.lines ?? path.start.lines
  const forks = await fetchForks(client, key, { firstReceivedAt, fromLine: from + 1, toLine: end })
  const parting = forks.filter(({ lineNo, hash }) => lineNo === 0 || hexAt(path, lineNo) === hash)
  const rows =
    before === undefined ? [newVersion(commit, known, parting.at(-1)?.lineNo)] : goOn(commit, before, parting)
  const version = rows.at(-1)?.version ?? mainVersion
  const isNew = known.every((file) => file.version !== version)
  if (isNew && known.length >= commit.maxVersions) {
    throw new TooManyVersionsError(`this session has ${known.length} versions already: is its name used for several?`)
  }
  await insertSessionFiles(client, rows)
  if (known.length === 0) return { version, outcome: 'created' }
  return { version, outcome: isNew ? 'diverged' : 'grown' }
}

/** A content that nothing listed is the beginning of. */
function newVersion(commit: Commit, known: readonly SessionFile[], partsAt: number | undefined): SessionFile {
  if (partsAt !== undefined) return rowOf(commit, nameAfter(commit.path, partsAt), commit.path.lines(), partsAt)
  if (known.every(({ version }) => version !== mainVersion)) {
    return rowOf(commit, mainVersion, commit.path.lines(), 0)
  }
  // What main begins with is no longer there.
  return rowOf(commit, nameAfter(commit.path, commit.path.start.lines), commit.path.lines(), 0)
}

/** The version up to where contents part, and from there on a new one for each time they do. */
function goOn(commit: Commit, before: SessionFile, parting: readonly { readonly lineNo: number }[]): SessionFile[] {
  const { path } = commit
  const rows: SessionFile[] = []
  let current: Pick<SessionFile, 'version' | 'parentLines' | 'parentHash'> = before
  for (const { lineNo } of parting) {
    if (lineNo > before.lines) rows.push({ ...rowOf(commit, current.version, lineNo, 0), ...parentOf(current) })
    current = {
      version: nameAfter(path, lineNo),
      parentLines: lineNo,
      parentHash: hexAt(path, lineNo) ?? '',
    }
  }
  rows.push({ ...rowOf(commit, current.version, path.lines(), 0), ...parentOf(current) })
  return rows
}

function parentOf({ parentLines, parentHash }: Pick<SessionFile, 'parentLines' | 'parentHash'>) {
  return { parentLines, parentHash }
}

function rowOf(commit: Commit, version: string, lines: number, parentLines: number): SessionFile {
  const { key, path, source, firstReceivedAt, receivedAt } = commit
  return {
    ...key,
    version,
    lines,
    bytes: path.bytesAt(lines),
    fileHash: hexAt(path, lines) ?? '',
    parentLines,
    parentHash: parentLines === 0 ? '' : (hexAt(path, parentLines) ?? ''),
    firstReceivedAt,
    receivedAt,
    redactions: path.redactionsAt(lines),
    source,
  }
}

/** A longer version that holds the whole path: another upload of the same file was ahead of this one. */
async function findHolder(
  { client, key, path, firstReceivedAt }: Commit,
  known: readonly SessionFile[],
  before: SessionFile | undefined,
): Promise<string | undefined> {
  const end = path.lines()
  const mayHold = ({ version, lines, parentLines }: SessionFile): boolean => {
    if (lines <= end) return false
    if (version === mainVersion) return before === undefined
    const branch = parentLines >= path.start.lines && parentLines < end ? nameAfter(path, parentLines) : undefined
    return branch === undefined ? before === undefined && parentLines < end : branch === version
  }
  for (const { version, lines, fileHash } of known.filter(mayHold)) {
    const [hash] = await fetchPath(client, key, firstReceivedAt, { lineNo: lines, hash: fileHash }, end)
    if (hash === hexAt(path, end)) return version
  }
  return undefined
}

/** Whether a version's end is on the path. */
function isOn(path: Path, { lines, fileHash }: SessionFile): boolean {
  return lines > 0 && lines >= path.start.lines && hexAt(path, lines) === fileHash
}

function longestOf(files: readonly SessionFile[]): SessionFile | undefined {
  return files.reduce<SessionFile | undefined>(
    (longest, file) => (longest === undefined || file.lines > longest.lines ? file : longest),
    undefined,
  )
}

/** The name of what parts from others behind this line. */
function nameAfter(path: Path, lines: number): string {
  return (hexAt(path, lines + 1) ?? '').slice(0, 16)
}

function hexAt(path: Path, lines: number): string | undefined {
  return (path.hashAt(lines) as Buffer | undefined)?.toString('hex')
}
