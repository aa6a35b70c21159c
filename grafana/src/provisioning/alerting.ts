/** Alert rules, contact points, policies and templates, as Grafana's file provisioning takes them. */
import type { AlertRule } from '../alerts/rules.ts'
import type { Dashboard } from '../model/grafana.ts'
import { pluginType } from '../model/query.ts'
import { datasourceUid, escaped } from './datasource.ts'

/** Grafana's own data source for expressions. */
const expressionUid = '__expr__'
const folder = 'Agnes'
export const receiverName = 'Agnes'

export interface RulesOptions {
  readonly rules: readonly AlertRule[]
  readonly dashboards: readonly Dashboard[]
  /** Where `docs/runbooks` can be read; their paths alone unless told. */
  readonly runbooksUrl?: string
  /** Contact point of every rule; without one the policies decide. */
  readonly receiver?: string
}

/** One group for each pace. */
export function ruleGroups(options: RulesOptions) {
  const paces = [...new Set(options.rules.map(({ everySeconds }) => everySeconds))].sort((a, b) => a - b)
  return {
    apiVersion: 1,
    groups: paces.map((seconds) => ({
      orgId: 1,
      name: `Agnes, every ${seconds / 60} min`,
      folder,
      interval: `${seconds}s`,
      rules: options.rules
        .filter(({ everySeconds }) => everySeconds === seconds)
        .map((rule) => provisioned(rule, options)),
    })),
  }
}

function provisioned(rule: AlertRule, { dashboards, runbooksUrl, receiver }: RulesOptions) {
  const { op, threshold, recovery } = rule.condition
  const path = `docs/runbooks/${rule.runbook}.md`
  return {
    uid: rule.uid,
    title: escaped(rule.title),
    condition: 'B',
    data: [
      {
        refId: 'A',
        datasourceUid,
        relativeTimeRange: { from: rule.fromSeconds, to: rule.toSeconds },
        model: {
          refId: 'A',
          datasource: { type: pluginType, uid: datasourceUid },
          editorType: 'sql',
          queryType: 'table',
          format: 1,
          rawSql: rule.sql,
          intervalMs: 60_000,
          maxDataPoints: 100,
        },
      },
      {
        refId: 'B',
        datasourceUid: expressionUid,
        relativeTimeRange: { from: rule.fromSeconds, to: rule.toSeconds },
        model: {
          refId: 'B',
          datasource: { type: expressionUid, uid: expressionUid },
          type: 'threshold',
          expression: 'A',
          conditions: [
            {
              evaluator: { type: op, params: [threshold] },
              // What ends a firing alert: the opposite, at the value of recovery.
              ...(recovery === undefined
                ? {}
                : { unloadEvaluator: { type: op === 'gt' ? 'lt' : 'gt', params: [recovery] } }),
            },
          ],
        },
      },
    ],
    dashboardUid: rule.panel.dashboard,
    panelId: panelIdOf(dashboards, rule.panel),
    noDataState: rule.noData,
    // ClickHouse that does not answer is one alert (Ingest stopped), not sixteen.
    execErrState: rule.uid === 'agnes-ingest-stopped' ? 'Alerting' : 'KeepLast',
    for: `${rule.forSeconds}s`,
    ...(rule.keepFiringSeconds === 0 ? {} : { keepFiringFor: `${rule.keepFiringSeconds}s` }),
    annotations: {
      summary: grafanaTemplate(rule.summary),
      description: rule.firstStep,
      ...(runbooksUrl === undefined
        ? { runbook: path }
        : { runbook_url: `${runbooksUrl.replace(/\/$/, '')}/${rule.runbook}.md` }),
    },
    labels: { severity: rule.severity, service: 'agnes' },
    isPaused: false,
    ...(receiver === undefined ? {} : { notification_settings: { receiver } }),
  }
}

/** `{value}` and `{label}` in the words of Grafana's templates. Annotations are not searched for `$NAME`. */
function grafanaTemplate(summary: string): string {
  return summary.replaceAll(/\{(\w+)\}/g, (_found, name: string) =>
    name === 'value' ? '{{ printf "%.4g" $values.A.Value }}' : `{{ index $labels "${name}" }}`,
  )
}

/** @throws Error where a rule names a panel that there is not */
export function panelIdOf(dashboards: readonly Dashboard[], { dashboard, title }: AlertRule['panel']): number {
  const found = dashboards
    .find(({ uid }) => uid === dashboard)
    ?.panels.flatMap((panel) => ('panels' in panel ? [...panel.panels] : [panel]))
    .find((panel) => panel.title === title)
  if (found === undefined) throw new Error(`${dashboard} has no panel "${title}"`)
  return found.id
}

/** Where alerts go. Secrets come from Grafana's environment, never from the file. */
export interface Receivers {
  readonly telegram?: boolean
  readonly webhook?: boolean
}

/** Telegram needs TELEGRAM_BOT_TOKEN and TELEGRAM_CHAT_ID, the webhook AGNES_ALERT_WEBHOOK_URL, where Grafana runs. */
export function contactPoints({ telegram = false, webhook = false }: Receivers) {
  return {
    apiVersion: 1,
    contactPoints: [
      {
        orgId: 1,
        name: receiverName,
        receivers: [
          ...(telegram
            ? [
                {
                  uid: 'agnes-telegram',
                  type: 'telegram',
                  disableResolveMessage: false,
                  settings: {
                    bottoken: '$TELEGRAM_BOT_TOKEN',
                    chatid: '$TELEGRAM_CHAT_ID',
                    message: '{{ template "agnes.message" . }}',
                    // Telegram refuses a message whose HTML was cut, and the alert would be lost.
                    parse_mode: 'None',
                    disable_web_page_preview: true,
                  },
                },
              ]
            : []),
          ...(webhook
            ? [
                {
                  uid: 'agnes-webhook',
                  type: 'webhook',
                  disableResolveMessage: false,
                  settings: { url: '$AGNES_ALERT_WEBHOOK_URL', httpMethod: 'POST', maxAlerts: 50 },
                },
              ]
            : []),
        ],
      },
    ],
  }
}

/** The whole tree of an organisation: for a Grafana that is Agnes' own. */
export function policies() {
  return {
    apiVersion: 1,
    policies: [
      {
        orgId: 1,
        receiver: receiverName,
        group_by: ['alertname', 'tenant'],
        group_wait: '30s',
        group_interval: '5m',
        repeat_interval: '12h',
        routes: [
          {
            receiver: receiverName,
            object_matchers: [['severity', '=', 'critical']],
            group_by: ['alertname', 'tenant'],
            group_wait: '10s',
            group_interval: '2m',
            repeat_interval: '2h',
          },
        ],
      },
    ],
  }
}

/** Short: Telegram cuts at 4096 characters. */
export function templates() {
  return {
    apiVersion: 1,
    templates: [
      {
        orgId: 1,
        name: 'agnes',
        template: `{{ define "agnes.message" }}{{ range .Alerts }}{{ if eq .Status "firing" }}FIRING{{ else }}RESOLVED{{ end }} {{ .Labels.alertname }}{{ with .Labels.severity }} ({{ . }}){{ end }}
{{ .Annotations.summary }}
{{ if eq .Status "firing" }}{{ .Annotations.description }}
{{ with .PanelURL }}Panel: {{ . }}
{{ end }}{{ with .Annotations.runbook_url }}Runbook: {{ . }}
{{ end }}{{ with .SilenceURL }}Silence: {{ . }}
{{ end }}{{ end }}
{{ end }}{{ end }}
`,
      },
    ],
  }
}
