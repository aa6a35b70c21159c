/**
 * Loops: the model does again what it has just seen fail, or asks again what it has just been told.
 *
 * "The same tool three times" is how all work looks; what makes a loop is the same *outcome*. So results are compared, a
 * call counts only if it was made after the outcome before it was seen, and whatever makes a repetition reasonable ends a
 * run: a success, a prompt, a change between, waiting for something.
 */
import { Recent } from '../transcripts/recent.ts'
import type { Turn } from '../transcripts/turn.ts'
import type { Place } from './scan.ts'

/** So many outcomes of a chain are looked back on. */
const windowSize = 12
const repeats = 3
const repeatsOnOtherTargets = 4
const maxChains = 500
const maxSidechainUuids = 20_000

interface Outcome {
  readonly call: Turn
  readonly result: Turn
  /** Of failures, without what differs each time. */
  readonly signature: string
  readonly isChange: boolean
}

interface Chain {
  readonly outcomes: Outcome[]
  /** What was reported since the last prompt. */
  readonly reported: Set<string>
}

type LoopRule = 'loop.same_call' | 'loop.same_error' | 'loop.same_result'

export class Loops {
  private readonly chains = new Recent<Chain>(maxChains)
  /** Older versions write sub-agents into the main file without an id: their turns hang together by their parents. */
  private readonly sidechains = new Recent<string>(maxSidechainUuids)
  private lastSidechain = 'sidechain'

  constructor(private readonly add: (place: Place) => void) {}

  /** `call` is what a tool_result answers, where it is known. */
  turn(turn: Turn, call: Turn | undefined): void {
    const sidechain = turn.isSidechain && turn.agentId === '' ? this.sidechainOf(turn) : turn.agentId
    if (turn.kind === 'tool_result') {
      if (call !== undefined && !noOutcome.has(turn.errorClass)) this.answered(call, turn, this.chainOf(sidechain))
    } else if (turn.kind === 'prompt' || turn.kind === 'compaction') {
      const chain = this.chains.get(sidechain)
      if (chain === undefined) return
      chain.outcomes.length = 0
      chain.reported.clear()
    }
  }

  private answered(call: Turn, result: Turn, chain: Chain): void {
    const { outcomes } = chain
    const isChange = !result.isError && !readOnlyTools.has(call.toolName)
    outcomes.push({ call, result, signature: result.isError ? signatureOf(result.text) : '', isChange })
    if (outcomes.length > windowSize) outcomes.shift()
    if (result.isError) this.failed(chain)
    else this.repeated(chain)
  }

  private failed(chain: Chain): void {
    const last = chain.outcomes[chain.outcomes.length - 1] as Outcome
    const sameCall = countSameCall(chain.outcomes, last)
    if (sameCall >= repeats) this.report('loop.same_call', last, chain, `${sameCall} times`)
    else if (isTelling(last.signature)) {
      const sameError = countSameError(chain.outcomes, last)
      if (sameError >= repeatsOnOtherTargets) this.report('loop.same_error', last, chain, `${sameError} times`)
    }
  }

  private repeated(chain: Chain): void {
    const last = chain.outcomes[chain.outcomes.length - 1] as Outcome
    const count = countSameResult(chain.outcomes, last)
    if (count >= repeats) this.report('loop.same_result', last, chain, `${count} times with the same result`)
  }

  private report(rule: LoopRule, { call, result, signature }: Outcome, { reported }: Chain, times: string): void {
    if (isWaiting(call)) return
    const callKey = `${call.toolName}\n${call.target || call.contentHash}`
    const errorKey = `${call.toolName}\n${signature}`
    if ((rule !== 'loop.same_error' && reported.has(callKey)) || (signature !== '' && reported.has(errorKey))) return
    if (reported.size > 200) reported.clear()
    reported.add(callKey)
    if (signature !== '') reported.add(errorKey)
    const about = call.target === '' ? call.toolName : `${call.toolName}: ${call.target.slice(0, 120)}`
    this.add({ turn: result, rule, excerpt: `${about} — ${times} — ${result.text}` })
  }

  private chainOf(key: string): Chain {
    let chain = this.chains.get(key)
    if (chain === undefined) {
      chain = { outcomes: [], reported: new Set() }
      this.chains.set(key, chain)
    }
    return chain
  }

  /** A sub-agent begins with its prompt. */
  private sidechainOf({ uuid, parentUuid, kind }: Turn): string {
    const known = this.sidechains.get(uuid) ?? this.sidechains.get(parentUuid)
    const root = known ?? (kind === 'prompt' && uuid !== '' ? uuid : this.lastSidechain)
    this.lastSidechain = root
    if (uuid !== '') this.sidechains.set(uuid, root)
    return root
  }
}

/*
 * The three counts go back from the last outcome, it included. An outcome counts only if it was there before the next call
 * was made: calls made at once have not seen each other fail. A line that stands twice in the file counts once.
 */

/** The same call, or one on the same target, that failed alike. */
function countSameCall(outcomes: readonly Outcome[], last: Outcome): number {
  const { toolName, target, contentHash } = last.call
  const counted = [last.call.toolUseId]
  let changed = false
  let next = last
  for (let i = outcomes.length - 2; i >= 0; i--) {
    const before = outcomes[i] as Outcome
    const isCall = before.call.toolName === toolName && before.call.contentHash === contentHash
    if (!isCall && !(before.call.toolName === toolName && target !== '' && before.call.target === target)) {
      changed ||= before.isChange
      continue
    }
    if (!before.result.isError) break
    const isSameError = before.signature === last.signature
    // What was changed between may have been the next step: then only the very same failure is a repetition.
    if (changed && !(isSameError && Math.abs(before.result.textBytes - last.result.textBytes) <= 16)) break
    if ((!isCall && !isSameError) || !wasSeen(before, next, counted)) continue
    counted.push(before.call.toolUseId)
    next = before
  }
  return counted.length
}

/** Calls of one tool that failed with the same error, whatever they were about. */
function countSameError(outcomes: readonly Outcome[], last: Outcome): number {
  const counted = [last.call.toolUseId]
  let next = last
  for (let i = outcomes.length - 2; i >= 0; i--) {
    const before = outcomes[i] as Outcome
    if (before.call.toolName !== last.call.toolName) continue
    if (!before.result.isError || before.signature !== last.signature) break
    const isAtOnce = before.call.messageId !== '' && before.call.messageId === next.call.messageId
    if (isAtOnce || !wasSeen(before, next, counted)) continue
    counted.push(before.call.toolUseId)
    next = before
  }
  return counted.length
}

/** The same call with the same result, and nothing that could have changed it between. */
function countSameResult(outcomes: readonly Outcome[], last: Outcome): number {
  const counted = [last.call.toolUseId]
  let next = last
  for (let i = outcomes.length - 2; i >= 0; i--) {
    const before = outcomes[i] as Outcome
    if (before.call.contentHash !== last.call.contentHash || before.call.toolName !== last.call.toolName) {
      if (before.isChange) break
      continue
    }
    if (before.result.isError || before.result.contentHash !== last.result.contentHash) break
    if (!wasSeen(before, next, counted)) continue
    counted.push(before.call.toolUseId)
    next = before
  }
  return counted.length
}

function wasSeen(before: Outcome, next: Outcome, counted: readonly string[]): boolean {
  return before.result.index < next.call.index && !counted.includes(before.call.toolUseId)
}

/** A person's no, an echo of another failure: nothing the model was told about the call. */
const noOutcome = new Set(['user_rejected', 'plan_rejected', 'interrupted', 'cancelled'])

const readOnlyTools = new Set([
  'Read',
  'Grep',
  'Glob',
  'LS',
  'NotebookRead',
  'WebFetch',
  'WebSearch',
  'TodoRead',
  'TodoWrite',
  'TaskList',
  'TaskGet',
  'TaskCreate',
  'TaskUpdate',
  'ToolSearch',
  'LSP',
  'ListMcpResourcesTool',
  'ReadMcpResourceTool',
])

/** Tools and commands that ask whether something is ready yet. */
const waitingTools =
  /^(?:BashOutput|AgentOutput\w*|TaskOutput|KillShell|KillBash|TaskStop|Sleep|Monitor|Wait\w*|ScheduleWakeup)$|^mcp__.*(?:wait|status|poll|output|logs?|monitor|snapshot|screenshot|progress|check|health|console|list_pages|tabs)/i
const waitingCommands =
  /\b(?:sleep|wait|wait-for|watch|poll|tail|status|pgrep|lsof|netstat|ping|nc|curl|wget|healthz?|readyz?|logs|jobs|squeue|nvidia-smi|checks)\b|(?:^|[;&|]\s*)(?:ps|ss)\b|\b(?:while|until)\b.*\bdo\b|\bgh (?:run|pr|api)\b|\b(?:kubectl|oc) (?:get|describe)\b|\bdocker (?:ps|inspect)\b|\bStart-Sleep\b/

function isWaiting({ toolName, target }: Turn): boolean {
  if (waitingTools.test(toolName)) return true
  return (toolName === 'Bash' || toolName === 'PowerShell') && waitingCommands.test(target)
}

/** The error without what differs each time: durations, clock times, addresses, temporary names. */
function signatureOf(text: string): string {
  return text
    .slice(0, 400)
    .replace(/\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d\S*|\b\d\d:\d\d:\d\d(?:\.\d+)?\b/g, '<time>')
    .replace(/\b\d+(?:\.\d+)?\s?(?:ms|s|m|sec|seconds)\b/g, '<duration>')
    .replace(/\b(?:0x)?[0-9a-f]{8,}(?:-[0-9a-f]{4,})*\b/gi, '<id>')
    .replace(/\s+/g, ' ')
    .trim()
}

/** "Exit code 1" alone says nothing about a cause. */
function isTelling(signature: string): boolean {
  return signature.replace(/^Exit code \d+/, '').replace(/[^A-Za-z]/g, '').length >= 20
}
