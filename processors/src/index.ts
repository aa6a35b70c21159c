export type { Finding, FindingSeverity, FindingType } from './failure-scan/finding.ts'
export type { Compaction, TokenUsage, Turn, TurnKind, TurnRole } from './transcripts/turn.ts'
