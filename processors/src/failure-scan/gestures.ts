/**
 * What a person says with their hands: no to a call, Escape while Claude works. One gesture leaves several records — the
 * refused call, the calls beside it, "[Request interrupted by user]" — and is one finding, at the first of them.
 */
import type { Turn } from '../transcripts/turn.ts'
import type { Place } from './scan.ts'

/** Records of one gesture are written at once; people need longer for a second one. */
const gestureMs = 3_000
/** `repeated_correction`: so many gestures within so many calls. */
const corrections = 3
const correctionCalls = 20

const planTools = new Set(['ExitPlanMode', 'exit_plan_mode', 'EnterPlanMode'])

export class Gestures {
  /** The last record of the last gesture, and whether nobody did anything since. */
  private lastMs: number | undefined
  private isFresh = false
  private calls = 0
  /** Number of calls before each of the last gestures that correct. */
  private corrected: number[] = []

  /** `add` says whether it is new: a line can stand twice in a file. */
  constructor(private readonly add: (place: Place) => boolean) {}

  turn(turn: Turn): void {
    if (turn.kind === 'interrupt') this.interrupt(turn)
    else if (turn.kind === 'prompt' || turn.role === 'assistant') {
      this.isFresh = false
      if (turn.kind === 'tool_use' && !turn.isSidechain) this.calls++
    }
  }

  interrupt(turn: Turn): void {
    this.gesture({ turn, rule: 'user_rejection.interrupt' }, true)
  }

  /** `call` is what was refused, where it is known. */
  rejection(turn: Turn, errorClass: string, call: Turn | undefined): void {
    const reason = reasonOf(turn.text)
    const about =
      call === undefined || call.target === '' ? turn.toolName : `${turn.toolName}: ${call.target.slice(0, 120)}`
    const excerpt = reason === '' ? `${about} — no reason given` : `${about} — “${reason}”`
    if (errorClass === 'plan_rejected' || planTools.has(turn.toolName)) {
      this.gesture({ turn, excerpt, rule: 'user_rejection.plan_edit' }, false)
    } else if (turn.toolName === 'AskUserQuestion') {
      this.gesture({ turn, excerpt, rule: 'user_rejection.question' }, false)
    } else {
      const finer = reason === '' ? 'rejected' : 'rejected_with_reason'
      this.gesture({ turn, excerpt, rule: 'user_rejection.call', class: finer }, true)
    }
  }

  private gesture(place: Place, corrects: boolean): void {
    const { turn } = place
    const isSame = this.continues(turn)
    this.isFresh = true
    this.lastMs = turn.timeMs ?? this.lastMs
    if (isSame) return
    if (!this.add(place) || !corrects || turn.isSidechain) return
    this.corrected = this.corrected.filter((before) => this.calls - before <= correctionCalls)
    this.corrected.push(this.calls)
    if (this.corrected.length < corrections) return
    this.add({ ...place, rule: 'repeated_correction.gestures', class: 'gestures' })
    this.corrected = []
  }

  private continues({ timeMs }: Turn): boolean {
    if (this.isFresh) return true
    return this.lastMs !== undefined && timeMs !== undefined && Math.abs(timeMs - this.lastMs) <= gestureMs
  }
}

/** What the person typed, where they did. */
export function reasonOf(text: string): string {
  return /\b(?:the user said|following reason for the rejection):\s*([\s\S]*)$/i.exec(text)?.[1]?.trim() ?? ''
}
