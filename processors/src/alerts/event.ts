/** Alerts in the timeline: `alert.fire` and `alert.resolve`, of the alert's rule. */
import type { Recorder } from '@agnes/instrumentation'
import type { Transition } from './evaluator.ts'

export function tellTransition(recorder: Recorder, { kind, alert }: Transition): void {
  const at = kind === 'fire' ? alert.firedAt : alert.resolvedAt
  recorder.at(at ?? alert.changedAt).audit(
    {
      action: `alert.${kind}`,
      userId: 'agnes-processors',
      clientKind: 'system',
      resource: `alert:${alert.rule}`,
      result: kind === 'fire' ? 'firing' : 'resolved',
      params: {
        summary: alert.summary,
        severity: alert.severity,
        labels: alert.labels,
        value: alert.value ?? null,
        fingerprint: alert.fingerprint,
        since: alert.activeSince.toISOString(),
        runbook: `docs/runbooks/${alert.runbook}.md`,
      },
    },
    // Told again after a kill it is the same event.
    { uid: `alert-${alert.fingerprint}-${alert.firedAt?.getTime()}-${kind}` },
  )
}
