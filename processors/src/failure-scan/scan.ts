/**
 * Turns of one session → findings. Deterministic; one pass; memory does not grow with the session.
 *
 * What was found stays found: a session that grows only adds findings (but for `abrupt_end`, which is about how it ends
 * now), so a scan of the first half never says what a scan of the whole takes back.
 */
import { createHash } from 'node:crypto'
import { cutAt } from '../transcripts/json-bytes.ts'
import { Recent } from '../transcripts/recent.ts'
import type { Turn } from '../transcripts/turn.ts'
import { Ending } from './ending.ts'
import type { Finding, FindingType } from './finding.ts'
import { Gestures } from './gestures.ts'
import { Loops } from './loops.ts'
import { ProjectCommands } from './project-commands.ts'
import { type RuleName, ruleOf } from './rules.ts'

/** What Claude Code's own event `tool_decision` says of a call. */
export interface ToolDecision {
  readonly decision: 'accept' | 'reject'
  /** `config`, `hook`, `user_permanent`, `user_temporary`, `user_abort`, `user_reject`. */
  readonly source: string
}

export interface ScanOptions {
  /** By `tool_use_id`. Where it and the transcript's words disagree about who said no, it counts. */
  readonly telemetry?: ReadonlyMap<string, ToolDecision>
}

export interface FailureScan {
  turn(turn: Turn): void
  /** All findings, by turn. To be called once, at the end. */
  end(): Finding[]
  /** Findings beyond `maxFindings`, which are counted and not kept. */
  readonly dropped: number
}

/** Of one session; the largest real one had 150. */
export const maxFindings = 10_000
const maxExcerpt = 300

/** Where something was found. */
export interface Place {
  readonly turn: Turn
  readonly rule: RuleName
  /** The part of the rule's name behind the dot, unless the finding says it finer. */
  readonly class?: string
  readonly excerpt?: string
}

export function createFailureScan(options: ScanOptions = {}): FailureScan {
  return new Scan(options)
}

/** A class, so that all sessions share the optimised code. */
class Scan implements FailureScan {
  dropped = 0
  private readonly findings: Finding[] = []
  private readonly ids = new Set<string>()
  private readonly calls = new Recent<Turn>(maxOpenCalls)
  private readonly gestures: Gestures
  private readonly loops: Loops
  private readonly ending = new Ending()
  private readonly commands = new ProjectCommands()
  /** Whether the summary of a compaction that comes next belongs to a mark that was found already. */
  private isMarked = false

  constructor(private readonly options: ScanOptions) {
    const add = (place: Place): boolean => this.add(place)
    this.gestures = new Gestures(add)
    this.loops = new Loops(add)
  }

  turn(turn: Turn): void {
    let call: Turn | undefined
    switch (turn.kind) {
      case 'tool_use':
        this.calls.set(turn.toolUseId, turn)
        break
      case 'tool_result':
        call = this.calls.get(turn.toolUseId)
        this.calls.delete(turn.toolUseId)
        if (turn.isError) this.toolError(turn, call)
        break
      case 'api_error': {
        const rule = turn.role === 'assistant' ? 'api_error.final' : 'api_error.retried'
        this.add({ turn, rule, class: turn.errorClass })
        break
      }
      case 'compaction':
        if (turn.compaction?.trigger !== 'micro') this.compaction(turn)
        break
      case 'compaction_summary':
        // Versions without a mark wrote the summary only.
        if (!this.isMarked) this.compaction(turn)
        this.isMarked = false
        break
      default:
    }
    this.gestures.turn(turn)
    const command = this.commands.turn(turn)
    this.loops.turn(turn, call, command)
    this.ending.turn(turn, command)
  }

  end(): Finding[] {
    const place = this.ending.end()
    if (place !== undefined) this.add(place)
    return this.findings.sort((a, b) => a.turnIndex - b.turnIndex)
  }

  private toolError(turn: Turn, call: Turn | undefined): void {
    const said = this.options.telemetry?.get(turn.toolUseId)
    const errorClass = said?.decision === 'reject' ? rejectedBy(said, turn) : turn.errorClass
    const rule = errorRules[errorClass]
    if (rule !== undefined) this.add({ turn, rule })
    else if (errorClass === 'interrupted') this.gestures.interrupt(turn)
    else if (errorClass === 'user_rejected' || errorClass === 'plan_rejected') {
      this.gestures.rejection(turn, errorClass, call)
    }
  }

  private compaction(turn: Turn): void {
    this.isMarked = turn.kind === 'compaction'
    const { trigger = 'auto', preTokens } = turn.compaction ?? {}
    const excerpt = preTokens === undefined ? turn.text : `${preTokens} tokens before. ${turn.text}`
    const finer = trigger === 'manual' ? 'manual_compaction' : 'auto_compaction'
    this.add({ turn, rule: 'context_pressure.compaction', class: finer, excerpt })
  }

  /** Whether it was new. */
  private add({ turn, rule: name, class: finer, excerpt }: Place): boolean {
    const rule = ruleOf(name)
    const [type, ruleClass] = name.split('.') as [FindingType, string]
    const id = findingId(turn, type)
    // A line that stands twice in the file is one thing that happened.
    if (this.ids.has(id)) return false
    if (this.findings.length >= maxFindings) {
      this.dropped++
      return false
    }
    this.ids.add(id)
    this.findings.push({
      id,
      type,
      class: finer ?? ruleClass,
      severity: rule.severity,
      turnIndex: turn.index,
      line: turn.line,
      uuid: turn.uuid,
      toolUseId: turn.toolUseId,
      toolName: turn.toolName,
      timeMs: turn.timeMs,
      excerpt: cutAt((excerpt ?? turn.text).trim(), maxExcerpt),
      rule: rule.name,
      ruleVersion: rule.version,
      advice: rule.advice,
    })
    return true
  }
}

/** Calls that wait for their results. */
const maxOpenCalls = 2_000

const errorRules: Readonly<Record<string, RuleName>> = {
  shell_exit: 'tool_error.shell_exit',
  harness_validation: 'tool_error.harness_validation',
  too_large: 'tool_error.too_large',
  mcp: 'tool_error.mcp',
  timeout: 'tool_error.timeout',
  other: 'tool_error.other',
  denied_by_rule: 'permission_denied.rule',
  denied_by_hook: 'permission_denied.hook',
  denied_by_classifier: 'permission_denied.classifier',
  not_granted: 'permission_denied.not_granted',
  os_permission: 'permission_denied.os',
}

/** A dead endpoint of a hook leaves the words of a person's no; a hook's own reason can be any words. */
function rejectedBy({ source }: ToolDecision, { errorClass }: Turn): string {
  if (source === 'hook') return 'denied_by_hook'
  if (source === 'config')
    return errorClass.startsWith('denied') || errorClass === 'not_granted' ? errorClass : 'denied_by_rule'
  if (source === 'user_abort') return errorClass === 'user_rejected' ? errorClass : 'interrupted'
  return errorClass === 'plan_rejected' ? errorClass : 'user_rejected'
}

/** The session, the thing and the type: the same from whichever upload, whatever the rules' versions. */
function findingId(turn: Turn, type: FindingType): string {
  const thing = turn.toolUseId || turn.uuid || `${turn.line}.${turn.block}`
  return createHash('sha256').update(`${turn.sessionId}\n${thing}\n${type}`).digest('hex').slice(0, 32)
}
