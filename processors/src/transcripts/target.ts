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

const pathKey = targetKeys.indexOf('path')
const patternKey = targetKeys.indexOf('pattern')

/** `member` gives the member of the input by its index in `targetKeys`, '' where there is none. */
export function targetOf(member: (key: number) => string): string {
  for (let key = 0; key < targetKeys.length; key++) {
    const value = member(key)
    if (value === '') continue
    const path = key === patternKey ? member(pathKey) : ''
    return oneLine(path === '' ? value : `${value} in ${path}`)
  }
  return ''
}

const severalSpaces = /\s+/g

function oneLine(text: string): string {
  return text.replace(severalSpaces, ' ').trim().slice(0, maxTargetLength)
}
