/** Transcripts as they lie in ClickHouse. */

/** A file of a user, whatever its versions. */
export interface SessionKey {
  readonly tenant: string
  readonly user: string
  /** Name of the file without `.jsonl`. */
  readonly file: string
}

/** The version that came first, and all it grew into. */
export const mainVersion = 'main'

/** One version of a file: a content it was seen with, as far as it has grown. */
export interface SessionFile extends SessionKey {
  readonly version: string
  readonly lines: number
  /** As sent, with a line break after each line. */
  readonly bytes: number
  /** 32 hex digits: equal hash, equal content. */
  readonly fileHash: string
  /** Lines it shares with the version it branched off. */
  readonly parentLines: number
  /** Hash of these lines, hex; empty for none. */
  readonly parentHash: string
  /** Of the session: the same for all its versions and lines. */
  readonly firstReceivedAt: Date
  readonly receivedAt: Date
  readonly redactions: number
  readonly source: SessionSource
}

export type SessionSource = 'upload' | 'directory'

/** A line to store, or one that is stored: what tells it from any other of the file. */
export interface LineNode {
  /** From 1. */
  readonly lineNo: number
  /** 32 hex digits. */
  readonly hash: string
}

export const hashBytes = 16
/** The line before the first. */
export const noParent = '0'.repeat(2 * hashBytes)
