/** An evaluation as text for a terminal. */
import type { Evaluation } from './evaluate.ts'

export function formatEvaluation({
  files,
  bytes,
  megabytesPerSecond,
  counts,
  labelledFiles,
  types,
  scores,
  disagreements,
}: Evaluation): string {
  const sum = (of: (file: Evaluation['files'][number]) => number): number =>
    files.reduce((all, file) => all + of(file), 0)
  const clean = files.filter(({ findings }) => findings.every(({ severity }) => severity === 'info')).length
  const unknown = new Map<string, number>()
  for (const { summary } of files) {
    for (const [type, count] of Object.entries(summary.unknownTypes))
      unknown.set(type, (unknown.get(type) ?? 0) + count)
  }
  const out = [
    `${files.length} transcripts, ${(bytes / 1e6).toFixed(1)} MB, ${sum(({ summary }) => summary.lines)} lines, ${sum(({ summary }) => summary.turns)} turns`,
    `${megabytesPerSecond.toFixed(0)} MB/s of CPU time`,
    `${sum(({ summary }) => summary.badLines)} bad lines; unknown types: ${[...unknown].map(([type, count]) => `${type} ${count}`).join(', ') || 'none'}`,
    `${clean} transcripts without a finding above info`,
    '',
    table([
      ['finding', 'findings', 'sessions'],
      ...[...counts].map(([name, { findings, sessions }]) => [name, String(findings), String(sessions)]),
    ]),
  ]
  if (labelledFiles === 0) return out.join('\n')
  const share = (value: number): string => (Number.isNaN(value) ? '–' : value.toFixed(3))
  out.push(
    '',
    `Against labels.jsonl (${labelledFiles} transcripts)`,
    table([
      ['finding', 'right', 'wrong', 'missed', 'precision', 'recall'],
      ...[...types, ...scores]
        .sort((a, b) => (a.name < b.name ? -1 : 1))
        .map(({ name, right, wrong, missed, precision, recall }) => [
          name,
          String(right),
          String(wrong),
          String(missed),
          share(precision),
          share(recall),
        ]),
    ]),
  )
  for (const { kind, file, line, name, excerpt } of disagreements) {
    out.push(
      `${kind === 'wrong' ? 'not labelled' : 'missed'}: ${file}:${line} ${name} ${JSON.stringify(excerpt.slice(0, 120))}`,
    )
  }
  return out.join('\n')
}

function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)))
  return rows
    .map((row) =>
      row
        .map((cell, i) => (i === 0 ? cell.padEnd(widths[i] as number) : cell.padStart(widths[i] as number)))
        .join('  '),
    )
    .join('\n')
}
