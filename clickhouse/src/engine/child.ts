/** Entry of the process that {@link startEngine} forks: serves until it is told to stop or its parent is gone. */
import { UserError } from '@agnes/config'
import type { EngineChildMessage } from './messages.ts'
import { type ServeOptions, serveEngine } from './serve.ts'

const drainMs = 9_000

// The parent is gone: nobody waits for an answer, and the database survives any end.
process.on('disconnect', () => process.exit(process.exitCode ?? 1))

process.once('message', (options: ServeOptions) => {
  serve(options).catch((error: unknown) => {
    const known = error instanceof UserError
    const message = (error as Error).message
    report({
      type: 'failed',
      message: known ? message : `the engine cannot start: ${message}`,
      code: known ? error.code : 'engine_failed',
      ...(known && error.hint !== undefined ? { hint: error.hint } : {}),
      exitCode: known ? error.exitCode : 1,
    })
    process.exitCode = 1
    process.disconnect()
  })
})

async function serve(options: ServeOptions): Promise<void> {
  const engine = await serveEngine(options)
  process.once('SIGTERM', () => {
    setTimeout(() => process.exit(0), drainMs).unref()
    void engine.stop().then(() => process.exit(0))
  })
  // The terminal sends Ctrl-C to the whole group: the parent decides when we stop.
  process.on('SIGINT', () => {})
  report({ type: 'ready', port: engine.port })
}

function report(message: EngineChildMessage): void {
  process.send?.(message)
}
