export { currentContext, type EventContext, runWithContext, setContext } from './context.ts'
export type { LossStats } from './log-pipeline.ts'
export { createRecorder, type EmitOptions, type Recorder, type RecorderStats } from './recorder.ts'
export { startTelemetry, type Telemetry, type TelemetryOptions } from './telemetry.ts'
