#!/usr/bin/env node
/** The `agnes` command: a process around what was typed. */
import { fail, invoke } from './invoke.ts'
import { endQuietlyWithoutReader } from './output/streams.ts'

// For the sender this shell is set up for: our own events would take on its key, and its tenant.
for (const name of ['OTEL_EXPORTER_OTLP_HEADERS', 'OTEL_EXPORTER_OTLP_LOGS_HEADERS']) delete process.env[name]

endQuietlyWithoutReader()
process.on('uncaughtException', (error) => process.exit(fail(error)))
process.exitCode = await invoke(process.argv.slice(2))
