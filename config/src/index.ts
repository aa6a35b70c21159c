export { type DirectoryLock, lockDirectory } from './directory-lock.ts'
export { type ExitCode, exitCodes, UserError, type UserErrorOptions } from './errors.ts'
export { loadKeyFile } from './key-file.ts'
export { type ConfiguredKey, isScope, type Scope, scopes, tenantPattern, tenantRule } from './keys.ts'
export { bindPort } from './listen.ts'
export { type Log, type LogLevel, logLevels } from './log.ts'
export {
  type ConfigSource,
  engineHost,
  isLoopback,
  loadConfig,
  nearest,
  type ParsedConfig,
  parseConfig,
  urlHost,
} from './parse.ts'
export { type Config, type TlsFiles, type Variable, type VariableName, variables } from './schema.ts'
export { parseDuration, parseTime } from './time.ts'
