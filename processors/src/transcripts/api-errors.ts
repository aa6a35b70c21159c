/** What the API failed of, by status and by the client's words. */

export type ApiErrorClass =
  | 'rate_limit'
  | 'overloaded'
  | 'authentication'
  | 'billing'
  | 'context_length'
  | 'output_length'
  | 'refusal'
  | 'network'
  | 'server_error'
  | 'invalid_request'
  | 'other'

/** The first that fits counts. The words come before the status: a 400 can be a prompt that is too long. */
const words: readonly (readonly [ApiErrorClass, RegExp])[] = [
  [
    'context_length',
    /prompt is too long|exceed(?:s|ed)? (?:the )?context (?:limit|window)|context_window|Autocompact is thrashing|Context limit reached|conversation is too long/i,
  ],
  ['output_length', /output token maximum|max_output_tokens|exceeded the \d+ output token/i],
  ['refusal', /Usage Policy|unable to respond to this request|\brefusal\b/i],
  ['billing', /credit balance|billing|payment required/i],
  [
    'authentication',
    /authentication|Invalid API key|\/login\b|OAuth token|oauth.{0,20}(?:expired|revoked)|not logged in|Missing API key|permission_error|\b40[13]\b/i,
  ],
  ['overloaded', /overloaded|\b529\b/i],
  [
    'rate_limit',
    /rate.?limit|usage limit|hit your .{0,20}limit|limit reached|too many requests|too_many_requests|\b429\b/i,
  ],
  [
    'network',
    /ECONN|ENOTFOUND|ETIMEDOUT|EAI_AGAIN|EPIPE|fetch failed|Connection (?:error|closed|reset|refused)|Unable to connect|FailedToOpenSocket|socket|timed out|timeout|stalled|certificate|network/i,
  ],
  ['server_error', /server_error|internal server error|api_error|\b5\d\d\b/i],
  ['invalid_request', /invalid_request|\b400\b/i],
]

/** `text` is what the record says, `status` the HTTP status where it gives one. */
export function apiErrorClass(text: string, status: number | undefined): ApiErrorClass {
  const said = status === undefined ? text : `${text}\n${status}`
  return words.find(([, pattern]) => pattern.test(said))?.[0] ?? 'other'
}
