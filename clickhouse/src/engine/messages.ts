/** What the engine's child process and its parent say to each other. */

export type EngineChildMessage =
  | { readonly type: 'ready'; readonly port: number }
  | {
      readonly type: 'failed'
      readonly message: string
      readonly code: string
      readonly hint?: string
      readonly exitCode: 0 | 1 | 2 | 3
    }
