/** What a tool call is about, on one line, so that calls about the same thing are equal. */

/** Members of a tool's input that can say it, the most telling first. */
export const targetKeys = [
  'file_path',
  'notebook_path',
  'command',
  'url',
  'query',
  'pattern',
  'path',
  'skill',
  'subagent_type',
  'task_id',
  'bash_id',
  'shell_id',
  'taskId',
  'id',
  'name',
  'uri',
  'description',
  'prompt',
] as const

/** UTF-16 units of a target. */
export const maxTargetLength = 400

/** `values` in the order of `targetKeys`, '' where the input has none. */
export function targetOf(values: readonly string[]): string {
  const [filePath, notebookPath, command, url, query, pattern, path, ...others] = values as string[]
  if (filePath || notebookPath) return oneLine(filePath || (notebookPath as string))
  if (command) return oneLine(command)
  if (url) return oneLine(url)
  if (query) return oneLine(query)
  if (pattern) return oneLine(path ? `${pattern} in ${path}` : pattern)
  return oneLine(path || (others.find((value) => value !== '') ?? ''))
}

function oneLine(text: string): string {
  return text.replace(/\s+/g, ' ').trim().slice(0, maxTargetLength)
}
