/** How the session ends: whose move it is, and whether that side ever made it. */
import type { Turn } from '../transcripts/turn.ts'
import type { RuleName } from './rules.ts'
import type { Place } from './scan.ts'

export interface Ending {
  turn(turn: Turn): void
  end(): void
}

/** Calls of the last message that wait for results; one message has a handful. */
const maxWaiting = 1_000
/** Commands after which nothing is left open, whatever came before. */
const leaving = /\/(?:exit|quit|clear|reset|new|resume|logout|login|branch|fork)\b/

export function createEnding(add: (place: Place) => void): Ending {
  const main = createChain()
  const side = createChain()
  let hasMain = false

  return {
    turn(turn) {
      // The file of a sub-agent has nothing but its own chain; in others the sub-agents' turns stand between.
      if (!turn.isSidechain && speaks(turn)) hasMain = true
      if (turn.isSidechain) side.turn(turn)
      else main.turn(turn)
    },
    end() {
      const place = (hasMain ? main : side).end()
      if (place !== undefined) add(place)
    },
  }
}

function speaks({ role }: Turn): boolean {
  return role === 'user' || role === 'assistant'
}

function createChain() {
  /** What is open, undefined if nothing is. */
  let open: { readonly rule: RuleName; readonly turn: Turn } | undefined
  const waiting = new Map<string, Turn>()

  function set(rule: RuleName, turn: Turn): void {
    open = { rule, turn }
  }

  function close(): void {
    open = undefined
    waiting.clear()
  }

  function turn(turn: Turn): void {
    switch (turn.kind) {
      case 'prompt':
      case 'attachment':
        // Records of type attachment are context, not the person's move.
        if (turn.role !== 'user') return
        waiting.clear()
        set('abrupt_end.unanswered_prompt', turn)
        return
      case 'text':
        if (turn.model === '<synthetic>') return
        if (turn.stopReason === 'tool_use') set('abrupt_end.unfinished_message', turn)
        else open = undefined
        return
      case 'thinking':
        set('abrupt_end.unfinished_message', turn)
        return
      case 'tool_use':
        if (waiting.size >= maxWaiting) waiting.clear()
        waiting.set(turn.toolUseId, turn)
        set('abrupt_end.unanswered_call', turn)
        return
      case 'tool_result':
        waiting.delete(turn.toolUseId)
        set('abrupt_end.unanswered_result', turn)
        return
      case 'interrupt':
        waiting.clear()
        set('abrupt_end.interrupted', turn)
        return
      case 'api_error':
        // Attempts that are retried leave the move where it is.
        if (turn.role === 'assistant') set('abrupt_end.api_error', turn)
        return
      case 'compaction':
        if (turn.compaction?.trigger === 'manual') close()
        return
      case 'command':
        if (leaving.test(turn.text)) close()
        return
      case 'system':
        // Written when the model has ended its turn.
        if (turn.recordType === 'system:turn_duration' || turn.recordType === 'system:stop_hook_summary') {
          if (open?.rule === 'abrupt_end.unfinished_message' || open?.rule === 'abrupt_end.unanswered_result') close()
        }
        return
      case 'progress':
        if (turn.target === 'SessionEnd') close()
        return
      default:
    }
  }

  function end(): Place | undefined {
    if (open === undefined) return undefined
    if (open.rule === 'abrupt_end.unanswered_result') {
      // A result came, but not for the call beside it.
      for (const call of waiting.values())
        return { turn: call, rule: 'abrupt_end.unanswered_call', excerpt: callOf(call) }
    }
    const { rule, turn } = open
    return turn.kind === 'tool_use' ? { turn, rule, excerpt: callOf(turn) } : { turn, rule }
  }

  return { turn, end }
}

function callOf({ toolName, target }: Turn): string {
  return target === '' ? toolName : `${toolName}: ${target}`
}
