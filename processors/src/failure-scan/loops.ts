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
/** Looking for a file under several names, or writing several unread, is a mistake made again, not yet a loop. */
const repeatsOnOtherFiles = 4
/** Waiting for something that is not there yet is no loop, until it looks as if it never comes. */
const repeatsOfWaiting = 8
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

  /** `call` is what a tool_result answers, `command` what a note is the text of, where they are known. */
  turn(turn: Turn, call: Turn | undefined, command: Turn | undefined): void {
    const sidechain = turn.isSidechain && turn.agentId === '' ? this.sidechainOf(turn) : turn.agentId
    if (turn.kind === 'tool_result') {
      if (call !== undefined && !noOutcome.has(turn.errorClass)) this.answered(call, turn, this.chainOf(sidechain))
    } else if (turn.kind === 'prompt' || turn.kind === 'compaction' || command !== undefined) {
      const chain = this.chains.get(sidechain)
      if (chain === undefined) return
      chain.outcomes.length = 0
      chain.reported.clear()
    }
  }

  private answered(call: Turn, result: Turn, chain: Chain): void {
    const { outcomes } = chain
    // What came out as before changed nothing: calls that take turns are a loop too.
    const isRepeated = outcomes.some((before) => isSameCall(before.call, call) && isSameResult(before.result, result))
    const isChange = !result.isError && !readOnlyTools.has(call.toolName) && !isRepeated
    outcomes.push({ call, result, signature: result.isError ? signatureOf(result.text) : '', isChange })
    if (outcomes.length > windowSize) outcomes.shift()
    if (isChange) chain.reported.delete('loop.same_result')
    if (result.isError) this.failed(chain)
    else this.repeated(chain)
  }

  private failed(chain: Chain): void {
    const last = chain.outcomes[chain.outcomes.length - 1] as Outcome
    const sameCall = countSameCall(chain.outcomes, last)
    const least = isWaiting(last.call) && !isRefusal(last.signature) ? repeatsOfWaiting : repeats
    if (sameCall >= least) this.report('loop.same_call', last, chain, `${sameCall} times`)
    else if (isTelling(last.signature)) {
      const sameError = countSameError(chain.outcomes, last)
      if (sameError >= (fileTools.has(last.call.toolName) ? repeatsOnOtherFiles : least))
        this.report('loop.same_error', last, chain, `${sameError} times`)
    }
  }

  private repeated(chain: Chain): void {
    const last = chain.outcomes[chain.outcomes.length - 1] as Outcome
    const count = countSameResult(chain.outcomes, last)
    // Calls that take turns are one loop, until something changes.
    if (count < repeats || chain.reported.has('loop.same_result') || isWaiting(last.call)) return
    this.report('loop.same_result', last, chain, `${count} times with the same result`)
  }

  private report(rule: LoopRule, { call, result, signature }: Outcome, { reported }: Chain, times: string): void {
    const callKey = `${familyOf(call)}\n${call.target || call.contentHash}`
    const errorKey = `${call.toolName}\n${signature}`
    if ((rule !== 'loop.same_error' && reported.has(callKey)) || (signature !== '' && reported.has(errorKey))) return
    if (reported.size > 200) reported.clear()
    reported.add(callKey)
    if (rule === 'loop.same_result') reported.add(rule)
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

/** The same call, or one on the same target, that failed alike; on the same file, however it failed. */
function countSameCall(outcomes: readonly Outcome[], last: Outcome): number {
  const { toolName, target } = last.call
  const family = familyOf(last.call)
  const isFile = fileTools.has(toolName)
  const counted = [last.call.toolUseId]
  let changed = false
  let next = last
  for (let i = outcomes.length - 2; i >= 0; i--) {
    const before = outcomes[i] as Outcome
    const isCall = isSameCall(before.call, last.call)
    if (!isCall && !(familyOf(before.call) === family && target !== '' && isSamePlace(before.call, last.call))) {
      if (before.isChange && takesOtherFiles(before.call)) break
      changed ||= before.isChange
      continue
    }
    if (!before.result.isError) break
    const isSameError = isSameSignature(before, last)
    // What was changed between may have been the next step: then only the very same failure is a repetition.
    if (changed && !isSameFailure(before, last)) break
    if ((!isCall && !isSameError && !isFile) || !wasSeen(before, next, counted)) continue
    counted.push(before.call.toolUseId)
    next = before
  }
  return counted.length
}

/** Calls of one tool that failed with the same error, whatever they were about. */
function countSameError(outcomes: readonly Outcome[], last: Outcome): number {
  const counted = [last.call.toolUseId]
  let changed = false
  let next = last
  for (let i = outcomes.length - 2; i >= 0; i--) {
    const before = outcomes[i] as Outcome
    if (before.call.toolName !== last.call.toolName) {
      changed ||= before.isChange
      continue
    }
    if (changed && isSameCall(before.call, last.call) && !isSameFailure(before, last)) break
    if (!before.result.isError || !isSameSignature(before, last)) break
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
    if (!isSameCall(before.call, last.call)) {
      if (before.isChange) break
      continue
    }
    if (!isSameResult(before.result, last.result)) break
    if (!wasSeen(before, next, counted)) continue
    counted.push(before.call.toolUseId)
    next = before
  }
  return counted.length
}

function isSameCall(one: Turn, other: Turn): boolean {
  return one.contentHash === other.contentHash && one.toolName === other.toolName && isSameDirectory(one, other)
}

function isSamePlace(one: Turn, other: Turn): boolean {
  return one.target === other.target && isSameDirectory(one, other)
}

/** What a file is called says where it is; what a command does depends on where it is run. */
function isSameDirectory(one: Turn, other: Turn): boolean {
  return one.cwd === other.cwd || fileTools.has(one.toolName)
}

/** Tools of which one is taken when another has failed on the same file. */
function familyOf({ toolName }: Turn): string {
  return toolName === 'Read' || !fileTools.has(toolName) ? toolName : 'Edit'
}

/** The same test is run on other files then: bisecting, or looking whether it failed before. */
function takesOtherFiles({ toolName, target }: Turn): boolean {
  return shells.has(toolName) && /\bgit\b.*\b(?:bisect|checkout|switch|stash|reset|revert|restore)\b/.test(target)
}

function isSameResult(one: Turn, other: Turn): boolean {
  return one.contentHash === other.contentHash && one.isError === other.isError
}

/** Of the same error more may be shown: `--verbose`. */
function isSameSignature({ signature: one }: Outcome, { signature: other }: Outcome): boolean {
  if (one === other) return true
  const least = Math.min(one.length, other.length)
  return least >= leastCommon && one.slice(0, least) === other.slice(0, least)
}

const leastCommon = 80

/** All of it is the same, as far as it can be told: of long results only the beginning is here. */
function isSameFailure(one: Outcome, other: Outcome): boolean {
  if (isSameResult(one.result, other.result)) return true
  return one.signature === other.signature && isWhole(one.result) && isWhole(other.result)
}

function isWhole({ text, textBytes }: Turn): boolean {
  // Bytes are those of the JSON text.
  return Buffer.byteLength(JSON.stringify(text)) - 2 >= textBytes
}

function wasSeen(before: Outcome, next: Outcome, counted: readonly string[]): boolean {
  return before.result.index < next.call.index && !counted.includes(before.call.toolUseId)
}

/** A person's no, an echo of another failure: nothing the model was told about the call. */
const noOutcome = new Set(['user_rejected', 'plan_rejected', 'interrupted', 'cancelled'])

const shells = new Set(['Bash', 'PowerShell'])

const fileTools = new Set(['Read', 'Edit', 'MultiEdit', 'Write', 'NotebookEdit'])

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
  /\b(?:sleep|wait|wait-for|watch|poll|(?<!\|\s*)tail|status|pgrep|lsof|netstat|ping|nc|curl|wget|healthz?|readyz?|logs|jobs|squeue|nvidia-smi|checks)\b|(?:^|[;&|]\s*)(?:ps|ss)\b|\b(?:while|until)\b.*\bdo\b|\bgh (?:run (?:view|watch|list)|pr (?:checks|view|status|list)|api)\b|\b(?:kubectl|oc) (?:get|describe)\b|\bdocker (?:ps|inspect)\b|\bStart-Sleep\b/

function isWaiting({ toolName, target }: Turn): boolean {
  if (waitingTools.test(toolName)) return true
  return shells.has(toolName) && waitingCommands.test(target)
}

/** It was answered, and will be the same the next time: not allowed, not understood. */
function isRefusal(signature: string): boolean {
  return /\b(?:400|401|403|405|422)\b|\bunauthori[sz]ed\b|\bforbidden\b/i.test(signature)
}

/**
 * The error without what differs each time: durations, clock times, addresses, temporary names. Of a Python traceback the
 * exception, whichever lines led to it.
 */
function signatureOf(text: string): string {
  const exception = /^(?:Exit code \d+\s+)?Traceback \(most recent call last\):\n(?:[ \t].*\n)+(\S.*)\s*$/.exec(
    text,
  )?.[1]
  return (exception ?? text)
    .replace(/\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d\S*|\b\d\d:\d\d:\d\d(?:\.\d+)?\b/g, '<time>')
    .replace(/\b\d+(?:\.\d+)?\s?(?:ms|s|m|sec|seconds)\b/g, '<duration>')
    .replace(/\b(?:0x)?[0-9a-f]{8,}(?:-[0-9a-f]{4,})*\b/gi, '<id>')
    .replace(/\s+/g, ' ')
    .trim()
}

/** "Exit code 1" alone says nothing about a cause. */
function isTelling(signature: string): boolean {
  return signature.replace(/^Exit code \d+/, '').replace(/[^A-Za-z]/g, '').length >= 15
}
