/** docs/events.md from the catalogue. */
import { actionFamilies, catalogue, clientKinds, eventNames, fieldsOf, resultClass, resultClasses } from '@agnes/events'

const resultExamples = [
  'success',
  'succeeded',
  'ok',
  'error',
  'error.404',
  'failed',
  'denied',
  'blocked',
  'invalid_password',
  'deactivated',
  '',
]

export function eventsReference() {
  return `# Events

Every event is an OpenTelemetry log record: \`EventName\` says what it is, attributes say the rest. Names are those of the
OpenTelemetry semantic conventions where one exists, else \`agnes.*\`. **Bold** attributes are required: an event that misses
one is stored all the same and listed in the view \`event_violations\`. Events of others (Claude Code, your own) are welcome
under their own names.

Every event should carry \`log.record.uid\`, a unique id; without one the gateway makes it.

${eventNames.map(eventSection).join('\n')}
## Actions
An action is free text, \`<family>.<verb>\`; these families are written today.

| family | example |
|---|---|
${Object.entries(actionFamilies)
  .map(([family, example]) => `| \`${family}\` | \`${example}\` |`)
  .join('\n')}

## Kinds of client
${clientKinds.map((kind) => `\`${kind}\``).join(', ')}. Where an event does not say (\`agnes.client_kind\`), it is \`scheduler\` for the
scheduler's ticks (\`run_…\`, \`marketplace.sync_all\`), \`system\` without a user, else \`other\`.

## Classes of results
The raw result is kept; filters use its class (${resultClasses.map((name) => `\`${name}\``).join(', ')}).

| result | class |
|---|---|
${resultExamples.map((raw) => `| ${raw === '' ? 'none written' : `\`${raw}\``} | \`${resultClass(raw)}\` |`).join('\n')}
| anything else | \`other\` |

This page is generated from \`events/src/catalogue.ts\` by \`npm run generate\`.
`
}

function eventSection(name) {
  const rows = fieldsOf(name).map(({ attribute, required, property, description }) => {
    const shown = required ? `**\`${attribute}\`**` : `\`${attribute}\``
    return `| ${shown} | \`${property}\` | ${description} |`
  })
  return `## \`${name}\`
${catalogue[name].description}

| attribute | field of the recorder | meaning |
|---|---|---|
${rows.join('\n')}
`
}
