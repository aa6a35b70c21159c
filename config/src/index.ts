export { type DirectoryLock, lockDirectory } from './directory-lock.ts'
export { type ExitCode, exitCodes, UserError, type UserErrorOptions } from './errors.ts'
export { type ConfigSource, isLoopback, loadConfig, nearest, type ParsedConfig, parseConfig } from './parse.ts'
export { type Config, type Variable, type VariableName, variables } from './schema.ts'
