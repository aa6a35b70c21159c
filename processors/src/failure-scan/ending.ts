/** How the session ends: whose move it is, and whether that side ever made it. */
import type { Turn } from '../transcripts/turn.ts'
import { reasonOf } from './gestures.ts'
import type { RuleName } from './rules.ts'
import type { Place } from './scan.ts'

/** Calls of the last message that wait for results; one message has a handful. */
const maxWaiting = 1_000
/** Commands after which nothing is left open, whatever came before. */
const leaving = /\/(?:exit|quit|clear|reset|new|resume|logout|login|branch|fork)\b/

export class Ending {
  private readonly main = new Chain()
  private readonly side = new Chain()
  private hasMain = false

  /** `command` is what a note is the text of, where a command of the project was given. */
  turn(turn: Turn, command: Turn | undefined): void {
    if (command !== undefined) this.main.asked(command)
    // The file of a sub-agent has nothing but its own chain; in others the sub-agents' turns stand between.
    if (turn.isSidechain) this.side.turn(turn)
    else {
      this.main.turn(turn)
      if (turn.role === 'user' || turn.role === 'assistant') this.hasMain = true
    }
  }

  /** What is left open, undefined if nothing is. */
  end(): Place | undefined {
    return (this.hasMain ? this.main : this.side).end()
  }
}

class Chain {
  private rule: RuleName | undefined
  private last: Turn | undefined
  private readonly waiting = new Map<string, Turn>()

  turn(turn: Turn): void {
    switch (turn.kind) {
      case 'prompt':
      case 'attachment':
        // Records of type attachment are context, not the person's move.
        if (turn.role === 'user') this.asked(turn)
        return
      case 'text':
        if (turn.model === '<synthetic>') return
        if (turn.stopReason === 'tool_use') this.leave('abrupt_end.unfinished_message', turn)
        else this.rule = undefined
        return
      case 'thinking':
        this.leave('abrupt_end.unfinished_message', turn)
        return
      case 'tool_use':
        // It is the person's move now; whether they are still there is no failure.
        if (asking.has(turn.toolName)) {
          this.close()
          return
        }
        if (this.waiting.size >= maxWaiting) this.waiting.clear()
        this.waiting.set(turn.toolUseId, turn)
        this.leave('abrupt_end.unanswered_call', turn)
        return
      case 'tool_result':
        this.waiting.delete(turn.toolUseId)
        if (isPlainNo(turn)) {
          this.waiting.clear()
          this.leave('abrupt_end.interrupted', turn)
        } else this.leave('abrupt_end.unanswered_result', turn)
        return
      case 'interrupt':
        this.waiting.clear()
        this.leave('abrupt_end.interrupted', turn)
        return
      case 'api_error':
        // Attempts that are retried leave the move where it is.
        if (turn.role === 'assistant') this.leave('abrupt_end.api_error', turn)
        return
      case 'compaction':
        if (turn.compaction?.trigger === 'manual') this.close()
        return
      case 'command':
        if (leaving.test(turn.text)) this.close()
        return
      case 'system':
        if (turnEnds.has(turn.recordType)) this.closeUnlessCalled()
        return
      case 'progress':
        if (turn.target === 'SessionEnd') this.close()
        else if (turn.target === 'Stop' && this.rule === 'abrupt_end.unfinished_message') this.close()
        return
      default:
    }
  }

  /** It is the model's move. */
  asked(turn: Turn): void {
    this.waiting.clear()
    this.leave('abrupt_end.unanswered_prompt', turn)
  }

  end(): Place | undefined {
    const { rule, last } = this
    if (rule === undefined || last === undefined) return undefined
    if (rule === 'abrupt_end.unanswered_result') {
      // A result came, but not for the call beside it.
      for (const call of this.waiting.values()) {
        return { turn: call, rule: 'abrupt_end.unanswered_call', excerpt: callOf(call) }
      }
    }
    return last.kind === 'tool_use' ? { turn: last, rule, excerpt: callOf(last) } : { turn: last, rule }
  }

  private leave(rule: RuleName, turn: Turn): void {
    this.rule = rule
    this.last = turn
  }

  private close(): void {
    this.rule = undefined
    this.waiting.clear()
  }

  /** The model has ended its turn, whatever became of its last words. */
  private closeUnlessCalled(): void {
    if (this.rule === 'abrupt_end.unfinished_message' || this.rule === 'abrupt_end.unanswered_result') this.close()
  }
}

/** Calls that wait for a person, as long as nobody has answered. */
const asking = new Set(['AskUserQuestion', 'ExitPlanMode', 'exit_plan_mode'])

/** A person's no without a reason stops the turn; with one, the model is to go on. */
function isPlainNo({ errorClass, text }: Turn): boolean {
  return (errorClass === 'user_rejected' || errorClass === 'plan_rejected') && reasonOf(text) === ''
}

/** Records that are written when the model has ended its turn. */
const turnEnds = new Set(['system:turn_duration', 'system:stop_hook_summary'])

function callOf({ toolName, target }: Turn): string {
  return target === '' ? toolName : `${toolName}: ${target}`
}
