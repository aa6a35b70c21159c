export type { Finding, FindingSeverity, FindingType } from './failure-scan/finding.ts'
export { type Rule, rules } from './failure-scan/rules.ts'
export {
  createFailureScan,
  type FailureScan,
  maxFindings,
  type ScanOptions,
  type ToolDecision,
} from './failure-scan/scan.ts'
export {
  createTurnReader,
  type ReadOptions,
  type ReadSummary,
  readTurns,
  type TurnReader,
} from './transcripts/read-turns.ts'
export type { Compaction, TokenUsage, Turn, TurnKind, TurnRole } from './transcripts/turn.ts'
