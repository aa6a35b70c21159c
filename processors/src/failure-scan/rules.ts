/** The rules as data: what each is called, how much it matters, what it says and what to do. Code decides when they apply. */
import type { FindingSeverity, FindingType } from './finding.ts'

export interface Rule {
  /** `type.class`; both stand in the finding. */
  readonly name: `${FindingType}.${string}`
  /** Goes up with each change of what the rule finds. */
  readonly version: number
  readonly severity: FindingSeverity
  /** When it applies. */
  readonly explain: string
  /** What an admin can do about it. */
  readonly advice: string
}

export const rules = [
  {
    name: 'tool_error.shell_exit',
    version: 1,
    severity: 'info',
    explain: 'A shell command ended with an exit code other than 0.',
    advice:
      'Often the normal answer of a test or a search. Look at commands that fail in many sessions: a tool that is missing, a wrong directory.',
  },
  {
    name: 'tool_error.harness_validation',
    version: 1,
    severity: 'warning',
    explain: 'Claude Code refused the input of a call: string not found, file not read yet, no such tool or skill.',
    advice: 'If one kind repeats across sessions, say in CLAUDE.md or the skill how the file or tool is to be used.',
  },
  {
    name: 'tool_error.too_large',
    version: 1,
    severity: 'warning',
    explain: 'A file or an answer was larger than what may be read at once.',
    advice: 'Tell Claude to read such files in parts or to search in them; keep generated files out of its way.',
  },
  {
    name: 'tool_error.mcp',
    version: 1,
    severity: 'warning',
    explain: 'A tool of an MCP server answered with an error.',
    advice: 'Look at the log of that server and at its credentials; describe in the tool what input it takes.',
  },
  {
    name: 'tool_error.timeout',
    version: 1,
    severity: 'warning',
    explain: 'A command or a tool took longer than its time limit.',
    advice: 'Run servers and long builds in the background, or raise the limit (BASH_DEFAULT_TIMEOUT_MS).',
  },
  {
    name: 'tool_error.other',
    version: 1,
    severity: 'warning',
    explain: 'A call failed for a reason of no class above.',
    advice: 'Read the excerpt.',
  },
  {
    name: 'permission_denied.rule',
    version: 1,
    severity: 'warning',
    explain: 'A deny rule, or the bounds of the working directory, stopped a call.',
    advice: 'If the call was right, allow it in the settings; if not, say in CLAUDE.md what to use instead.',
  },
  {
    name: 'permission_denied.hook',
    version: 1,
    severity: 'warning',
    explain: 'A hook stopped a call.',
    advice: 'Make the hook name the way that is allowed, so that the next call takes it.',
  },
  {
    name: 'permission_denied.classifier',
    version: 1,
    severity: 'warning',
    explain: 'The classifier of auto mode stopped a call, or could not judge it.',
    advice: 'If the call was right, add an allow rule for it.',
  },
  {
    name: 'permission_denied.not_granted',
    version: 1,
    severity: 'warning',
    explain: 'A call needed a permission and nobody was there to give it.',
    advice: 'Runs without a person need their permissions beforehand: --allowedTools or an allow rule.',
  },
  {
    name: 'permission_denied.os',
    version: 1,
    severity: 'info',
    explain:
      'The operating system did not allow it: exit code 126, EACCES, EPERM. No rule of Claude Code had a part in it.',
    advice: 'Mend the mode or the owner of the file.',
  },
  {
    name: 'user_rejection.call',
    version: 1,
    severity: 'warning',
    explain:
      'A person said no to a call, with or without a reason. What follows within the same gesture is part of it.',
    advice: 'Collect the typed reasons: what people say no to again and again belongs into CLAUDE.md or into a rule.',
  },
  {
    name: 'user_rejection.plan_edit',
    version: 1,
    severity: 'info',
    explain: 'A person sent a plan back. That is mostly how plans are edited.',
    advice: 'Nothing, unless plans come back again and again.',
  },
  {
    name: 'user_rejection.question',
    version: 1,
    severity: 'info',
    explain: 'A person did not answer a question of Claude, but said something else.',
    advice: 'Nothing, unless it happens often: then the questions are not the right ones.',
  },
  {
    name: 'user_rejection.interrupt',
    version: 1,
    severity: 'warning',
    explain: 'A person stopped Claude while it worked.',
    advice: 'The prompt that follows mostly says what went wrong.',
  },
  {
    name: 'loop.same_call',
    version: 2,
    severity: 'warning',
    explain:
      'The same call failed three times alike, or calls on the same file did, by whatever tool, without a success between.',
    advice:
      'Look at what Claude could not know: name the right command or file in CLAUDE.md or in the tool’s description.',
  },
  {
    name: 'loop.same_error',
    version: 2,
    severity: 'warning',
    explain:
      'Calls of one tool failed with the same error three times in a row on different targets; on different files, four times.',
    advice:
      'The cause is outside of the calls: a missing dependency, a service that is away, a rule nobody told Claude.',
  },
  {
    name: 'loop.same_result',
    version: 2,
    severity: 'warning',
    explain:
      'The same call gave the same result three times, and nothing was changed between. Waiting for something is not counted.',
    advice: 'The result does not tell Claude what it looks for: improve the tool’s answer or the prompt.',
  },
  {
    name: 'abrupt_end.unanswered_call',
    version: 2,
    severity: 'warning',
    explain: 'The session ends with a call that has no result.',
    advice: 'The client was closed or died while a tool ran; look at what the tool was.',
  },
  {
    name: 'abrupt_end.unanswered_result',
    version: 2,
    severity: 'warning',
    explain: 'The session ends with a result to which the model did not answer.',
    advice: 'The client was closed or died while the model was asked.',
  },
  {
    name: 'abrupt_end.unfinished_message',
    version: 1,
    severity: 'warning',
    explain: 'The session ends in the middle of an answer: after a thought, or before the call it announced.',
    advice: 'The client was closed or died while the model answered.',
  },
  {
    name: 'abrupt_end.unanswered_prompt',
    version: 2,
    severity: 'warning',
    explain: 'The session ends with a prompt that was never answered.',
    advice: 'The client was closed or died, or the API could not be reached.',
  },
  {
    name: 'abrupt_end.interrupted',
    version: 2,
    severity: 'info',
    explain: 'A person stopped Claude, or said no to a call, and did not go on.',
    advice: 'Many of these say that people give up: read what came before.',
  },
  {
    name: 'abrupt_end.api_error',
    version: 1,
    severity: 'error',
    explain: 'The session ends with an error of the API.',
    advice: 'See the api_error finding at the same turn.',
  },
  {
    name: 'api_error.final',
    version: 1,
    severity: 'error',
    explain: 'The API refused or failed, and the turn ended with it. The class says why.',
    advice:
      'Limits: more quota or fewer parallel sessions. Authentication: log in again. Context length: compact earlier.',
  },
  {
    name: 'api_error.retried',
    version: 1,
    severity: 'info',
    explain: 'A request to the API failed and was tried again.',
    advice: 'Nothing, unless it happens in many sessions at the same time.',
  },
  {
    name: 'context_pressure.compaction',
    version: 1,
    severity: 'info',
    explain:
      'The context was compacted: automatically because it was full, or by /compact. Details before it are lost.',
    advice: 'Sessions with many of these should be split; keep large files and outputs out of the context.',
  },
  {
    name: 'repeated_correction.gestures',
    version: 1,
    severity: 'warning',
    explain: 'A person said no or stopped Claude three times within twenty calls.',
    advice:
      'Claude and the person want different things: read the reasons, and put what they have in common into CLAUDE.md.',
  },
] as const satisfies readonly Rule[]

export type RuleName = (typeof rules)[number]['name']

const byName = new Map<string, Rule>(rules.map((rule) => [rule.name, rule]))

export function ruleOf(name: RuleName): Rule {
  return byName.get(name) as Rule
}
