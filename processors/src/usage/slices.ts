/**
 * What a user did on one day: in all, and by model, tool, skill and MCP server. Pure; the rules of counting stand here.
 *
 * - A turn or an API message that was copied into another file (a session that was resumed or forked) counts once.
 * - An API message counts on the day of its first line, with the tokens of its last one.
 * - Minutes are those of the clock: one with at least one turn of user or assistant is active.
 */

/** A turn of user or assistant, as far as counting needs it. */
export interface UsageTurn {
  /** File and version. */
  readonly session: string
  readonly turnIndex: number
  readonly block: number
  readonly line: number
  readonly timeMs: number
  readonly uuid: string
  readonly messageId: string
  readonly kind: string
  readonly model: string
  readonly toolName: string
  readonly skill: string
  readonly mcpServer: string
  readonly isError: boolean
  readonly inputTokens: number
  readonly outputTokens: number
  readonly cacheReadTokens: number
  readonly cacheCreationTokens: number
}

export const dimensions = ['total', 'model', 'tool', 'skill', 'mcp_server'] as const
export type Dimension = (typeof dimensions)[number]

export interface Slice {
  readonly dimension: Dimension
  /** Empty for `total`. */
  readonly name: string
  readonly sessions: number
  readonly turns: number
  readonly prompts: number
  readonly messages: number
  readonly tool_calls: number
  readonly input_tokens: number
  readonly output_tokens: number
  readonly cache_read_tokens: number
  readonly cache_creation_tokens: number
  readonly errors: number
  readonly active_minutes: number
}

interface Counter {
  readonly dimension: Dimension
  readonly name: string
  readonly sessions: Set<string>
  readonly turns: Set<string>
  readonly prompts: Set<string>
  readonly messages: Set<Message>
  readonly toolCalls: Set<string>
  readonly errors: Set<string>
  readonly minutes: Set<number>
}

interface Message {
  firstMs: number
  last: UsageTurn
}

/** A message that begins so long before or after midnight is seen whole by both days. */
export const midnightSlackMs = 3_600_000

/**
 * @param turns of the day and `midnightSlackMs` on either side of it, in any order, those of all files of the user
 * @param dayMs the day's first millisecond since 1970, UTC
 */
export function slicesOf(turns: readonly UsageTurn[], dayMs: number): Slice[] {
  const isToday = (ms: number): boolean => ms >= dayMs && ms < dayMs + 86_400_000
  const messages = new Map<string, Message>()
  for (const turn of turns) {
    const id = messageIdOf(turn)
    if (id === undefined) continue
    const message = messages.get(id)
    if (message === undefined) messages.set(id, { firstMs: turn.timeMs, last: turn })
    else {
      message.firstMs = Math.min(message.firstMs, turn.timeMs)
      if (isLater(turn, message.last)) message.last = turn
    }
  }

  const counters = new Map<string, Counter>()
  for (const turn of turns) {
    if (!isToday(turn.timeMs)) continue
    const id = turn.uuid === '' ? `${turn.session} ${turn.turnIndex}` : `${turn.uuid} ${turn.block}`
    const message = messages.get(messageIdOf(turn) ?? '')
    for (const counter of countersOf(counters, turn)) {
      counter.sessions.add(turn.session)
      counter.turns.add(id)
      counter.minutes.add(Math.floor(turn.timeMs / 60_000))
      if (turn.kind === 'prompt') counter.prompts.add(id)
      if (turn.kind === 'tool_use') counter.toolCalls.add(id)
      if (turn.isError) counter.errors.add(id)
      if (message !== undefined && isToday(message.firstMs)) counter.messages.add(message)
    }
  }
  return [...counters.values()].map(sliceOf).sort(byName)
}

function messageIdOf({ messageId, uuid, inputTokens, outputTokens }: UsageTurn): string | undefined {
  if (messageId !== '') return messageId
  return inputTokens + outputTokens > 0 ? `uuid ${uuid}` : undefined
}

/** Whether its tokens count before those of the other: a line that has any, then the later one. */
function isLater(turn: UsageTurn, than: UsageTurn): boolean {
  const difference =
    Number(hasTokens(turn)) - Number(hasTokens(than)) ||
    turn.timeMs - than.timeMs ||
    turn.line - than.line ||
    turn.block - than.block ||
    turn.outputTokens - than.outputTokens
  return difference > 0
}

function hasTokens({ inputTokens, outputTokens, cacheReadTokens, cacheCreationTokens }: UsageTurn): boolean {
  return inputTokens + outputTokens + cacheReadTokens + cacheCreationTokens > 0
}

function countersOf(counters: Map<string, Counter>, turn: UsageTurn): Counter[] {
  const names: readonly (readonly [Dimension, string])[] = [
    ['total', ''],
    ['model', turn.model],
    ['tool', turn.toolName],
    ['skill', turn.skill],
    ['mcp_server', turn.mcpServer],
  ]
  return names
    .filter(([dimension, name]) => dimension === 'total' || name !== '')
    .map(([dimension, name]) => {
      const id = `${dimension} ${name}`
      const counter = counters.get(id) ?? {
        dimension,
        name,
        sessions: new Set(),
        turns: new Set(),
        prompts: new Set(),
        messages: new Set(),
        toolCalls: new Set(),
        errors: new Set(),
        minutes: new Set(),
      }
      counters.set(id, counter)
      return counter
    })
}

function sliceOf(counter: Counter): Slice {
  const tokens = { input: 0, output: 0, cacheRead: 0, cacheCreation: 0 }
  for (const { last } of counter.messages) {
    tokens.input += last.inputTokens
    tokens.output += last.outputTokens
    tokens.cacheRead += last.cacheReadTokens
    tokens.cacheCreation += last.cacheCreationTokens
  }
  return {
    dimension: counter.dimension,
    name: counter.name,
    sessions: counter.sessions.size,
    turns: counter.turns.size,
    prompts: counter.prompts.size,
    messages: counter.messages.size,
    tool_calls: counter.toolCalls.size,
    input_tokens: tokens.input,
    output_tokens: tokens.output,
    cache_read_tokens: tokens.cacheRead,
    cache_creation_tokens: tokens.cacheCreation,
    errors: counter.errors.size,
    active_minutes: counter.minutes.size,
  }
}

function byName(a: Slice, b: Slice): number {
  const byDimension = dimensions.indexOf(a.dimension) - dimensions.indexOf(b.dimension)
  return byDimension || (a.name < b.name ? -1 : a.name > b.name ? 1 : 0)
}
