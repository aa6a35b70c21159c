/**
 * What a person says with their hands: no to a call, Escape while Claude works. One gesture leaves several records — the
 * refused call, the calls beside it, "[Request interrupted by user]" — and is one finding, at the first of them.
 */
import type { Turn } from '../transcripts/turn.ts'
import type { Place } from './scan.ts'

export interface Gestures {
  turn(turn: Turn): void
  rejection(turn: Turn, errorClass: string): void
  interrupt(turn: Turn): void
}

/** Records of one gesture are written at once; people need longer for a second one. */
const gestureMs = 3_000
/** `repeated_correction`: so many gestures within so many calls. */
const corrections = 3
const correctionCalls = 20

const planTools = new Set(['ExitPlanMode', 'exit_plan_mode', 'EnterPlanMode'])

export function createGestures(add: (place: Place) => void): Gestures {
  /** The last record of the last gesture, and whether Claude or the person did anything since. */
  let lastMs: number | undefined
  let isFresh = false
  let calls = 0
  /** Number of calls before each of the last gestures that correct. */
  let corrected: number[] = []

  function continues(turn: Turn): boolean {
    if (isFresh) return true
    return lastMs !== undefined && turn.timeMs !== undefined && Math.abs(turn.timeMs - lastMs) <= gestureMs
  }

  function gesture(place: Place, corrects: boolean): void {
    const isSame = continues(place.turn)
    isFresh = true
    lastMs = place.turn.timeMs ?? lastMs
    if (isSame) return
    add(place)
    if (!corrects || place.turn.isSidechain) return
    corrected = corrected.filter((before) => calls - before <= correctionCalls)
    corrected.push(calls)
    if (corrected.length < corrections) return
    add({ turn: place.turn, rule: 'repeated_correction.gestures' })
    corrected = []
  }

  function rejection(turn: Turn, errorClass: string): void {
    const excerpt = reasonOf(turn.text)
    const place = excerpt === '' ? { turn } : { turn, excerpt }
    if (errorClass === 'plan_rejected' || planTools.has(turn.toolName)) {
      gesture({ ...place, rule: 'user_rejection.plan_edit', class: 'plan_edit' }, false)
    } else if (turn.toolName === 'AskUserQuestion') gesture({ ...place, rule: 'user_rejection.question' }, false)
    else {
      const finer = excerpt === '' ? 'rejected' : 'rejected_with_reason'
      gesture({ ...place, rule: 'user_rejection.call', class: finer }, true)
    }
  }

  return {
    rejection,
    interrupt: (turn) => gesture({ turn, rule: 'user_rejection.interrupt' }, true),
    turn(turn) {
      if (turn.kind === 'interrupt') gesture({ turn, rule: 'user_rejection.interrupt' }, true)
      else if (turn.kind === 'prompt' || turn.role === 'assistant') {
        isFresh = false
        if (turn.kind === 'tool_use' && !turn.isSidechain) calls++
      }
    },
  }
}

/** What the person typed, where they did. */
function reasonOf(text: string): string {
  return /\bthe user said:\s*([\s\S]*)$/i.exec(text)?.[1]?.trim() ?? ''
}
