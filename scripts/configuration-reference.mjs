/** docs/configuration.md from the zod schema. */
import { processorInterval, variables } from '@agnes/config'

export function configurationReference() {
  const rows = [...Object.entries(variables), [processorInterval.name, processorInterval]].map(
    ([name, { default: value, description }]) =>
      `| \`${name}\` | ${value === undefined ? 'unset' : `\`${value}\``} | ${description} |`,
  )
  const secrets = Object.entries(variables)
    .filter(([, { secret }]) => secret)
    .map(([name]) => `\`${name}\``)
    .join(', ')
  return `# Configuration

Environment variables; a \`.env\` file in the working directory is read too (the environment wins, an empty variable counts
as unset). They are checked at start: an unknown \`AGNES_*\` name is refused with a suggestion, a bad value with what it
takes. \`agnes doctor\` prints what is in force and where it came from.

Secrets (${secrets}) may stand in files, as containers and systemd hand them over: \`<name>_FILE\` names one that not
everyone may read.

| variable | default | meaning |
|---|---|---|
${rows.join('\n')}

This page is generated from \`config/src/schema.ts\` by \`npm run generate\`.
`
}
