/**
 * Loops: the model does again what it has just seen fail, or asks again what it has just been told.
 *
 * "The same tool three times" is how all work looks; what makes a loop is the same *outcome*. So results are compared, a
 * call counts only if it was made after the outcome before it was seen, and whatever makes a repetition reasonable ends a
 * run: a success, a prompt, a change between, waiting for something.
 */
import type { Turn } from '../transcripts/turn.ts'
import type { Place } from './scan.ts'

export interface Loops {
  turn(turn: Turn): void
}

/** So many outcomes of a chain are looked back on. */
const windowSize = 12
const repeats = 3
const repeatsOnOtherTargets = 4
const maxChains = 500
const maxOpenCalls = 2_000
const maxSidechainUuids = 20_000

interface Call {
  readonly toolName: string
  readonly target: string
  readonly inputHash: string
  readonly messageId: string
  readonly turn: Turn
}

interface Outcome extends Call {
  readonly isError: boolean
  readonly resultHash: string
  readonly resultBytes: number
  readonly signature: string
  /** Indexes of the call and of its result. */
  readonly calledAt: number
  readonly answeredAt: number
}

interface Chain {
  outcomes: Outcome[]
  /** What was reported since the last prompt. */
  readonly reported: Set<string>
}

export function createLoops(add: (place: Place) => void): Loops {
  const chains = new Map<string, Chain>()
  const openCalls = new Map<string, Call>()
  /** Older versions write sub-agents into the main file without an id: their turns hang together by their parents. */
  const sidechains = new Map<string, string>()

  function chainOf(turn: Turn): Chain {
    const key = turn.agentId !== '' ? turn.agentId : turn.isSidechain ? sidechainOf(turn) : ''
    let chain = chains.get(key)
    if (chain === undefined) {
      chain = { outcomes: [], reported: new Set() }
      keep(chains, key, chain, maxChains)
    }
    return chain
  }

  function sidechainOf({ uuid, parentUuid }: Turn): string {
    const root = sidechains.get(uuid) ?? sidechains.get(parentUuid) ?? (uuid || 'sidechain')
    if (uuid !== '' && !sidechains.has(uuid)) keep(sidechains, uuid, root, maxSidechainUuids)
    return root
  }

  function answered(result: Turn, chain: Chain): void {
    const call = openCalls.get(result.toolUseId)
    if (call === undefined) return
    openCalls.delete(result.toolUseId)
    if (noOutcome.has(result.errorClass)) return
    const outcome: Outcome = {
      ...call,
      isError: result.isError,
      resultHash: result.contentHash,
      resultBytes: result.textBytes,
      signature: result.isError ? signatureOf(result.text) : '',
      calledAt: call.turn.index,
      answeredAt: result.index,
    }
    chain.outcomes.push(outcome)
    if (chain.outcomes.length > windowSize) chain.outcomes.shift()
    if (isWaiting(outcome)) return
    if (outcome.isError) failing(outcome, result, chain)
    else repeating(outcome, result, chain)
  }

  function failing(last: Outcome, result: Turn, chain: Chain): void {
    const sameCall = countBack(last, chain, (before, changed) => {
      if (before.toolName !== last.toolName) return 'skip'
      const isCall = before.inputHash === last.inputHash
      const isTarget = last.target !== '' && before.target === last.target
      if (!isCall && !isTarget) return 'skip'
      if (!before.isError) return 'stop'
      const isSameError = before.signature === last.signature
      // What was changed between may have been the next step: then only the very same failure is a repetition.
      if (changed) return isSameError && Math.abs(before.resultBytes - last.resultBytes) <= 16 ? 'count' : 'stop'
      return isCall || isSameError ? 'count' : 'skip'
    })
    if (sameCall >= repeats) {
      report('loop.same_call', last, result, chain, `${sameCall} times`)
      return
    }
    if (!isTelling(last.signature)) return
    const sameError = countBack(last, chain, (before) => {
      if (before.toolName !== last.toolName) return 'skip'
      if (!before.isError) return 'stop'
      if (before.signature !== last.signature) return 'stop'
      // Calls of one message are made at once: none has seen the others fail.
      return before.messageId !== '' && before.messageId === last.messageId ? 'skip' : 'count'
    })
    if (sameError >= repeatsOnOtherTargets) report('loop.same_error', last, result, chain, `${sameError} times`)
  }

  function repeating(last: Outcome, result: Turn, chain: Chain): void {
    const count = countBack(last, chain, (before, changed) => {
      if (changed) return 'stop'
      if (before.toolName !== last.toolName || before.inputHash !== last.inputHash) return 'skip'
      return !before.isError && before.resultHash === last.resultHash ? 'count' : 'stop'
    })
    if (count >= repeats) report('loop.same_result', last, result, chain, `${count} times with the same result`)
  }

  function report(
    rule: 'loop.same_call' | 'loop.same_error' | 'loop.same_result',
    last: Outcome,
    turn: Turn,
    chain: Chain,
    times: string,
  ): void {
    const what = rule === 'loop.same_error' ? last.signature : last.target || last.inputHash
    const key = `${last.toolName}\n${what}`
    const errorKey = `${last.toolName}\n${last.signature}`
    if (chain.reported.has(key) || (last.isError && chain.reported.has(errorKey))) return
    if (chain.reported.size > 200) chain.reported.clear()
    chain.reported.add(key)
    if (last.isError) chain.reported.add(errorKey)
    const about = last.target === '' ? last.toolName : `${last.toolName}: ${last.target.slice(0, 120)}`
    add({ turn, rule, excerpt: `${about} — ${times} — ${turn.text}` })
  }

  return {
    turn(turn) {
      switch (turn.kind) {
        case 'tool_use':
          chainOf(turn)
          keep(
            openCalls,
            turn.toolUseId,
            {
              toolName: turn.toolName,
              target: turn.target,
              inputHash: turn.contentHash,
              messageId: turn.messageId,
              turn,
            },
            maxOpenCalls,
          )
          return
        case 'tool_result':
          answered(turn, chainOf(turn))
          return
        case 'prompt':
        case 'compaction': {
          const chain = chainOf(turn)
          chain.outcomes = []
          chain.reported.clear()
          return
        }
        default:
          if (turn.isSidechain && turn.agentId === '') sidechainOf(turn)
      }
    },
  }
}

/** How often the outcome came in a row, the last one included; only what was called after its predecessor was seen. */
function countBack(
  last: Outcome,
  { outcomes }: Chain,
  judge: (before: Outcome, changed: boolean) => 'count' | 'skip' | 'stop',
): number {
  let count = 1
  let changed = false
  let next = last
  for (let i = outcomes.length - 2; i >= 0; i--) {
    const before = outcomes[i] as Outcome
    const verdict = judge(before, changed)
    if (verdict === 'stop') break
    if (verdict === 'count') {
      if (before.answeredAt > next.calledAt) continue
      count++
      next = before
    } else if (!before.isError && !isReadOnly(before.toolName)) changed = true
  }
  return count
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

function isReadOnly(toolName: string): boolean {
  return readOnlyTools.has(toolName)
}

/** Tools and commands that ask whether something is ready yet. */
const waitingTools =
  /^(?:BashOutput|AgentOutput\w*|TaskOutput|KillShell|KillBash|TaskStop|Sleep|Monitor|Wait\w*|ScheduleWakeup)$|^mcp__.*(?:wait|status|poll|output|logs?|monitor|snapshot|screenshot|progress|check|health|console|list_pages|tabs)/i
const waitingCommands =
  /\b(?:sleep|wait|wait-for|watch|poll|tail|status|pgrep|lsof|netstat|ping|nc|curl|wget|healthz?|readyz?|logs|jobs|squeue|nvidia-smi|checks)\b|(?:^|[;&|]\s*)(?:ps|ss)\b|\b(?:while|until)\b.*\bdo\b|\bgh (?:run|pr|api)\b|\b(?:kubectl|oc) (?:get|describe)\b|\bdocker (?:ps|inspect)\b|\bStart-Sleep\b/

function isWaiting({ toolName, target }: Call): boolean {
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

function keep<V>(map: Map<string, V>, key: string, value: V, most: number): void {
  if (map.size >= most && !map.has(key)) {
    for (const oldest of map.keys()) {
      map.delete(oldest)
      break
    }
  }
  map.set(key, value)
}
