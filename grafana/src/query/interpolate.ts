/**
 * What happens to a query in the browser, before the plugin's backend sees it: `$__conditionalAll` of the ClickHouse
 * plugin, then Grafana's own `${variable:format}`. Alert queries never pass here.
 * @see https://grafana.com/docs/grafana/latest/dashboards/variables/variable-syntax/
 */

/** Values of variables: a text, or several where the variable takes many. `$__all` stands for all. */
export type VariableValues = Readonly<Record<string, string | readonly string[]>>

/** @throws Error where a query names a variable or format that there is none of: Grafana would leave it as it stands */
export function interpolate(sql: string, values: VariableValues): string {
  return conditionalAll(sql, values).replaceAll(
    /\$\{(\w+)(?::(\w+))?\}|\$(?!__)([A-Za-z_]\w*)/g,
    (_found, braced: string | undefined, format: string | undefined, bare: string | undefined) => {
      const name = braced ?? bare ?? ''
      const value = values[name]
      if (value === undefined) throw new Error(`there is no variable "${name}"`)
      return formatted(value, format, name)
    },
  )
}

/** `$__conditionalAll(condition, $variable)`: the condition, or `1=1` where the variable is all or empty. */
function conditionalAll(sql: string, values: VariableValues): string {
  const macro = '$__conditionalAll('
  let text = sql
  // From the last one on, as the plugin does, so that one may stand in another.
  for (let at = text.lastIndexOf(macro); at >= 0; at = text.lastIndexOf(macro)) {
    const [condition, variable, ...more] = callArguments(text, at + macro.length - 1)
    if (condition === undefined || variable === undefined || more.length > 0) {
      throw new Error(`$__conditionalAll takes a condition and a variable: ${text.slice(at, at + 100)}`)
    }
    const name = variable.trim()
    if (!/^\$\w+$/.test(name))
      throw new Error(`the second argument of $__conditionalAll must be a bare $variable: ${name}`)
    const value = values[name.slice(1)]
    if (value === undefined) throw new Error(`there is no variable "${name.slice(1)}"`)
    const all = String(value) === '' || String(value) === '$__all'
    const end = at + macro.length + condition.length + 1 + variable.length + 1
    text = text.slice(0, at) + (all ? '1=1' : condition) + text.slice(end)
  }
  return text
}

/** The arguments of a call whose parenthesis opens at a position, as the plugin's browser part tells them apart. */
function callArguments(text: string, open: number): string[] {
  const found: string[] = []
  let depth = 0
  let from = open + 1
  for (let i = open; i < text.length; i++) {
    if (text[i] === '(') depth++
    if (text[i] === ')') depth--
    if ((text[i] === ',' && depth === 1) || depth === 0) {
      found.push(text.slice(from, i))
      from = i + 1
    }
    if (depth === 0) return found
  }
  return []
}

/** Grafana's formats, as far as our queries and links use them. */
function formatted(value: string | readonly string[], format: string | undefined, name: string): string {
  const list = typeof value === 'string' ? [value] : value
  switch (format) {
    // Only quotes are escaped: what may hold a backslash must bring it doubled (see `variables.ts`).
    case 'singlequote':
      return list.map((item) => `'${item.replaceAll("'", "\\'")}'`).join(',')
    case 'percentencode':
      return strictlyEncoded(typeof value === 'string' ? value : `{${value.join(',')}}`)
    case 'queryparam':
      return list.map((item) => `var-${name}=${strictlyEncoded(item)}`).join('&')
    case 'raw':
      return list.join(',')
    default:
      throw new Error(
        `\${${name}${format === undefined ? '' : `:${format}`}}: use :singlequote, :percentencode, :queryparam or :raw`,
      )
  }
}

function strictlyEncoded(text: string): string {
  return encodeURIComponent(text).replaceAll(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`)
}
