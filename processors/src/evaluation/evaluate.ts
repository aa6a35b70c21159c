/**
 * How well the scan does on a folder of transcripts: what it finds, how fast, and, where a person wrote down what it
 * should find, precision and recall.
 */
import { createReadStream } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import path from 'node:path'
import type { Finding, FindingType } from '../failure-scan/finding.ts'
import { createFailureScan } from '../failure-scan/scan.ts'
import { type ReadSummary, TurnReader } from '../transcripts/read-turns.ts'

/** One line of `labels.jsonl`. */
export interface Label {
  /** Path of the transcript, from the folder of the labels. */
  readonly file: string
  /** All that should be found, at its line (from 1); the class counts only where it is given. */
  readonly findings: readonly { readonly line: number; readonly type: string; readonly class?: string }[]
  /** Only findings of these types, and on lines from … to …, were looked at by the person; without them, everything was. */
  readonly types?: readonly string[]
  readonly lines?: readonly [from: number, to: number]
}

export interface ScannedFile {
  readonly file: string
  readonly findings: readonly Finding[]
  readonly summary: ReadSummary
}

/** Of one type and class: what was right, what was found and is not labelled, what is labelled and was not found. */
export interface Score {
  readonly name: string
  readonly right: number
  readonly wrong: number
  readonly missed: number
  /** NaN where nothing was found, or nothing was to be found. */
  readonly precision: number
  readonly recall: number
}

export interface Disagreement {
  readonly kind: 'wrong' | 'missed'
  readonly file: string
  readonly line: number
  readonly name: string
  readonly excerpt: string
}

export interface Evaluation {
  readonly files: readonly ScannedFile[]
  readonly bytes: number
  /** Of reading and scanning, in CPU time, once the code is warm: a small folder is scanned several times for it. */
  readonly megabytesPerSecond: number
  /** Number of findings and of sessions with one, by `type.class`. */
  readonly counts: ReadonlyMap<string, { findings: number; sessions: number }>
  readonly labelledFiles: number
  /** Of each type, and of each class of it. */
  readonly types: readonly Score[]
  readonly scores: readonly Score[]
  readonly disagreements: readonly Disagreement[]
}

const labelsFile = 'labels.jsonl'

/**
 * Scans all `*.jsonl` below the folder.
 * @param measureMs the folder is scanned again and again for so long, in CPU time: the speed is that of warm code
 * @throws what the file system throws, and an Error for labels that are none
 */
export async function evaluateFolder(folder: string, measureMs = 2_000): Promise<Evaluation> {
  const paths = (await readdir(folder, { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile() && entry.name.endsWith('.jsonl') && entry.name !== labelsFile)
    .map((entry) => path.relative(folder, path.join(entry.parentPath, entry.name)))
    .sort()
  let pass = await scanFiles(folder, paths)
  const { files } = pass
  for (let spentMs = pass.cpuMs; spentMs < measureMs && files.length > 0; spentMs += pass.cpuMs) {
    pass = await scanFiles(folder, paths)
  }
  const bytes = files.reduce((sum, { summary }) => sum + summary.bytes, 0)

  const labels = await readLabels(path.join(folder, labelsFile))
  const { types, scores, disagreements } = score(files, labels)
  return {
    files,
    bytes,
    megabytesPerSecond: bytes / 1e3 / Math.max(pass.cpuMs, 0.001),
    counts: countsOf(files),
    labelledFiles: new Set(labels.map(({ file }) => file)).size,
    types,
    scores,
    disagreements,
  }
}

async function scanFiles(
  folder: string,
  paths: readonly string[],
): Promise<{ readonly files: readonly ScannedFile[]; readonly cpuMs: number }> {
  const before = process.cpuUsage()
  const files: ScannedFile[] = []
  for (const file of paths) files.push(await scanFile(folder, file))
  const { user, system } = process.cpuUsage(before)
  return { files, cpuMs: (user + system) / 1_000 }
}

async function scanFile(folder: string, file: string): Promise<ScannedFile> {
  const scan = createFailureScan()
  const reader = new TurnReader((turn) => scan.turn(turn))
  try {
    const chunks: AsyncIterable<Buffer> = createReadStream(path.join(folder, file), { highWaterMark: 256 * 1024 })
    for await (const chunk of chunks) reader.write(chunk)
    return { file, summary: reader.end(), findings: scan.end() }
  } finally {
    reader.close()
  }
}

async function readLabels(file: string): Promise<Label[]> {
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return ''
    throw error
  })
  return text.split('\n').flatMap((line, i) => {
    if (line.trim() === '') return []
    const label = asLabel(line)
    if (label === undefined) {
      throw new Error(`${file}, line ${i + 1}: a label is {"file": "…", "findings": [{"line": 1, "type": "…"}]}`)
    }
    return [label]
  })
}

function asLabel(line: string): Label | undefined {
  try {
    const label = JSON.parse(line) as Partial<Label> | null
    const isLabel =
      typeof label?.file === 'string' &&
      Array.isArray(label.findings) &&
      label.findings.every((one) => typeof one?.line === 'number' && typeof one.type === 'string')
    return isLabel ? (label as Label) : undefined
  } catch {
    return undefined
  }
}

function countsOf(files: readonly ScannedFile[]): Evaluation['counts'] {
  const counts = new Map<string, { findings: number; sessions: number }>()
  for (const { findings } of files) {
    const names = findings.map((finding) => `${finding.type}.${finding.class}`)
    for (const name of names) {
      const count = counts.get(name) ?? { findings: 0, sessions: 0 }
      counts.set(name, count)
      count.findings++
    }
    for (const name of new Set(names)) (counts.get(name) as { sessions: number }).sessions++
  }
  return new Map([...counts].sort(([a], [b]) => (a < b ? -1 : 1)))
}

function score(
  files: readonly ScannedFile[],
  labels: readonly Label[],
): Pick<Evaluation, 'types' | 'scores' | 'disagreements'> {
  const tally: Tally = new Map()
  const byType: Tally = new Map()
  const disagreements: Disagreement[] = []
  const count = (name: string, kind: 'right' | 'wrong' | 'missed'): void => {
    countIn(tally, name, kind)
    countIn(byType, name.replace(/\..*/, ''), kind)
  }
  for (const label of labels) {
    const found = files.find(({ file }) => file === label.file)
    if (found === undefined) throw new Error(`labels.jsonl names ${label.file}, which is not in the folder`)
    const left = found.findings.filter((finding) => wasLookedAt(finding, label))
    for (const expected of label.findings) {
      const at = left.findIndex(
        ({ line, type, class: finer }) =>
          line === expected.line &&
          type === expected.type &&
          (expected.class === undefined || finer === expected.class),
      )
      const name = expected.class === undefined ? expected.type : `${expected.type}.${expected.class}`
      const [finding] = at < 0 ? [] : left.splice(at, 1)
      if (finding !== undefined) count(`${finding.type}.${finding.class}`, 'right')
      else {
        count(name, 'missed')
        disagreements.push({ kind: 'missed', file: label.file, line: expected.line, name, excerpt: '' })
      }
    }
    for (const { type, class: finer, line, excerpt } of left) {
      const name = `${type}.${finer}`
      count(name, 'wrong')
      disagreements.push({ kind: 'wrong', file: label.file, line, name, excerpt })
    }
  }
  return { types: scoresOf(byType), scores: scoresOf(tally), disagreements }
}

type Tally = Map<string, { right: number; wrong: number; missed: number }>

function countIn(tally: Tally, name: string, kind: 'right' | 'wrong' | 'missed'): void {
  const counts = tally.get(name) ?? { right: 0, wrong: 0, missed: 0 }
  tally.set(name, counts)
  counts[kind]++
}

function scoresOf(tally: Tally): Score[] {
  return [...tally]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, { right, wrong, missed }]) => ({
      name,
      right,
      wrong,
      missed,
      precision: right / (right + wrong),
      recall: right / (right + missed),
    }))
}

function wasLookedAt({ type, line }: { type: FindingType; line: number }, { types, lines }: Label): boolean {
  if (types !== undefined && !types.includes(type)) return false
  return lines === undefined || (line >= lines[0] && line <= lines[1])
}
