export { hasCandidate } from './needles.ts'
export { createRedaction, type Redactor, type StartRedaction } from './redactor.ts'
export { compileRules, loadRules, noRules, type RulesFile } from './rules.ts'
