/** Processors of session files, and what runs them; transcripts and their scan for who has no database. */
export { evaluatedRules, type RuleFacts } from './alerts/rules.ts'
export {
  type Disagreement,
  type Evaluation,
  evaluateFolder,
  type Label,
  type ScannedFile,
  type Score,
} from './evaluation/evaluate.ts'
export { formatEvaluation } from './evaluation/format.ts'
export type { Finding, FindingSeverity, FindingType } from './failure-scan/finding.ts'
export { type Rule, rules } from './failure-scan/rules.ts'
export {
  createFailureScan,
  type FailureScan,
  maxFindings,
  type ScanOptions,
  type ToolDecision,
} from './failure-scan/scan.ts'
export { findGaps, type GapsOptions } from './gaps.ts'
export type { Outcome, Processor, ProcessorContext, Session } from './processor.ts'
export { processorOf, processors, scheduled } from './registry.ts'
export type { RunTotals, SessionRun } from './run.ts'
export { type ChosenRun, type RunChosenOptions, runChosen } from './run-chosen.ts'
export { type ScheduledProcessor, type Scheduler, type SchedulerOptions, startScheduler } from './scheduler.ts'
export { eventOf, type ProcessorsOptions, type RunningProcessors, startProcessors } from './service.ts'
export type { SessionChoice } from './state.ts'
export { type ReadOptions, type ReadSummary, readTurns, TurnReader } from './transcripts/read-turns.ts'
export type { Compaction, TokenUsage, Turn, TurnKind, TurnRole } from './transcripts/turn.ts'
