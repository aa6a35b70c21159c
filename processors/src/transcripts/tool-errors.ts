/**
 * Why a tool call failed, by the words the client wrote into its result.
 *
 * Only results that are marked as errors come here, and only how they begin counts: what a program printed can quote
 * anything. The words are those of Claude Code 1.0 to 2.1; they are in English whatever the user's language is.
 */

export type ToolErrorClass =
  /** The user said no to the call, with or without a reason; to a plan; or stopped it while it ran. */
  | 'user_rejected'
  | 'plan_rejected'
  | 'interrupted'
  /** Not run because a call beside it failed, or because the answer was asked for again: an echo, no failure. */
  | 'cancelled'
  /** Not allowed: by a rule, by a hook, by the classifier of auto mode, for want of somebody to ask. */
  | 'denied_by_rule'
  | 'denied_by_hook'
  | 'denied_by_classifier'
  | 'not_granted'
  /** The operating system did not allow it: exit 126, EACCES, EPERM. */
  | 'os_permission'
  | 'timeout'
  | 'shell_exit'
  | 'too_large'
  /** The client refused the call's input: string not found, file not read yet, no such tool … */
  | 'harness_validation'
  | 'mcp'
  | 'other'

interface Words {
  readonly errorClass: ToolErrorClass
  readonly begins: RegExp
}

/** The first that fits counts. `<tool_use_error>` is taken off before, except where it is the pattern. */
const words: readonly Words[] = [
  { errorClass: 'plan_rejected', begins: /^The agent proposed a plan that was rejected by the user/ },
  {
    errorClass: 'user_rejected',
    begins:
      /^(?:The user doesn['’]t want to (?:proceed with this tool use|take this action)|Permission for this tool use was denied\. The tool use was rejected|The user has declined this action|User rejected |User declined to answer)/,
  },
  { errorClass: 'interrupted', begins: /^(?:\[Request interrupted by user|Interrupted by user)/ },
  {
    errorClass: 'cancelled',
    begins:
      /^(?:Error: )?(?:Sibling tool call errored|Cancelled: parallel tool call|Streaming fallback - tool execution discarded)/,
  },
  {
    errorClass: 'denied_by_classifier',
    begins:
      /^(?:Permission for this action (?:has been|was) (?:denied|declined)|This action was blocked by |[^\n]{0,120}\bauto mode (?:classifier|could not evaluate|cannot determine the safety))/,
  },
  {
    errorClass: 'denied_by_hook',
    begins:
      /^(?:[^\n]{0,80}\b(?:PreToolUse|PermissionRequest)(?::[\w-]+)? (?:hook|\[)|Hook (?:PreToolUse|PermissionRequest)|Execution stopped by [^\n]{0,40}hook)/,
  },
  {
    errorClass: 'not_granted',
    begins:
      /^(?:Claude requested permissions? to |This (?:Bash |PowerShell )?command (?:requires approval|contains multiple operations)|[^\n]{0,400}\brequires? approval\b)/,
  },
  {
    errorClass: 'denied_by_rule',
    // "Permission to org/repo.git denied" is git's.
    begins:
      /^(?:Permission to (?:use|read|edit|write|search|list|access) |(?:File|Path|Directory) is in a directory that is denied by your permission settings|[^\n]{0,400}\bwas blocked\. For security, Claude Code|[^\n]{0,200}\b(?:blocked|denied) by (?:your )?permission (?:rules?|settings))/,
  },
  { errorClass: 'os_permission', begins: /^(?:Exit code 126\b|(?:Error: )?(?:EACCES|EPERM)\b)/ },
  { errorClass: 'timeout', begins: /^(?:Exit code \d+\s+)?Command timed out after / },
  { errorClass: 'shell_exit', begins: /^Exit code -?\d+/ },
  {
    errorClass: 'too_large',
    begins:
      /^[^\n]{0,250}?(?:exceeds? (?:the )?(?:maximum allowed|maximum size|max(?:imum)? (?:file )?size)|is too large)/,
  },
]

const validation = /^(?:InputValidationError|Error: No such tool available|No such tool available)/
const mcpError = /^(?:Error: )?MCP error -?\d+/
const timeout = /^[^\n]{0,160}?(?:timed out|ETIMEDOUT|[Tt]imeout (?:of \d|exceeded)|Timeout \d+ ?ms exceeded)/
const shells = new Set(['Bash', 'PowerShell', 'Shell'])

/** Of a result that is marked as an error; `toolName` is '' where the call is not known. */
export function toolErrorClass(toolName: string, text: string): ToolErrorClass {
  const wrapped = text.startsWith('<tool_use_error>')
  const plain = wrapped ? text.slice('<tool_use_error>'.length) : text
  for (const { errorClass, begins } of words) {
    if (wrapped && errorClass === 'shell_exit') continue
    if (begins.test(plain)) return errorClass
  }
  if (wrapped || validation.test(plain)) return 'harness_validation'
  if (toolName.startsWith('mcp__') || mcpError.test(plain)) return 'mcp'
  if (shells.has(toolName)) return 'shell_exit'
  return timeout.test(plain) ? 'timeout' : 'other'
}
