/**
 * The SDK's batch processor with what a host needs beside it: a bound that also holds while a flush is under way,
 * counts of what was lost, flushes that wait for each other, and an end.
 */
import {
  BatchLogRecordProcessor,
  type BatchLogRecordProcessorOptions,
  type LogRecordExporter,
  type LogRecordProcessor,
} from '@opentelemetry/sdk-logs'

export interface LossStats {
  /** Events dropped because too many waited. */
  readonly dropped: number
  /** Events that were sent and not taken, or given up on. */
  readonly undelivered: number
}

export interface LogPipeline {
  readonly processor: LogRecordProcessor
  /** Resolves when the exporter is done with every record emitted before the call. Never rejects. */
  flush(): Promise<void>
  /** From here on nothing is taken or sent any more; what is on its way counts as undelivered. */
  giveUp(): void
  /** Counts a record that comes after the end. */
  refuse(): void
  stats(): LossStats
}

/** @param onDrop called for each record that finds the queue full */
export function createLogPipeline(
  exporter: LogRecordExporter,
  options: Omit<BatchLogRecordProcessorOptions, 'exporter'> & { readonly maxQueueSize: number },
  onDrop: () => void,
): LogPipeline {
  let waiting = 0
  /** Handed to the exporter, not answered yet. */
  let underWay = 0
  let dropped = 0
  let undelivered = 0
  let givenUp = false

  const batches = new BatchLogRecordProcessor({
    ...options,
    exporter: {
      export(records, done) {
        waiting -= records.length
        underWay += records.length
        exportOrGiveUp(records, (result) => {
          const taken = result.error === undefined
          if (!givenUp) {
            underWay -= records.length
            undelivered += taken ? 0 : records.length
          } else if (taken) undelivered -= records.length // counted at the end, and arrived all the same
          done(result)
        })
      },
      forceFlush: () => exporter.forceFlush(),
      shutdown: () => exporter.shutdown(),
    },
  })

  const exportOrGiveUp: LogRecordExporter['export'] = (records, done) => {
    // 1 is ExportResultCode.FAILED.
    if (givenUp) done({ code: 1, error: new Error('the receiver did not answer before the end') })
    else exporter.export(records, done)
  }

  // The SDK's own forceFlush returns at once while another is under way.
  let running: Promise<void> = Promise.resolve()
  let next: Promise<void> | undefined
  function flush(): Promise<void> {
    next ??= running.then(() => {
      next = undefined
      running = batches.forceFlush().catch(() => {})
      return running
    })
    return next
  }

  return {
    processor: {
      onEmit(record) {
        if (givenUp || waiting >= options.maxQueueSize) {
          dropped++
          onDrop()
          return
        }
        waiting++
        batches.onEmit(record)
      },
      forceFlush: flush,
      shutdown: () => flush().then(() => batches.shutdown()),
    },
    flush,
    giveUp() {
      givenUp = true
      undelivered += waiting + underWay
      waiting = 0
      underWay = 0
    },
    refuse() {
      dropped++
    },
    stats: () => ({ dropped, undelivered }),
  }
}
