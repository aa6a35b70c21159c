/**
 * Slash commands of a project ask something of the model: the client writes the command, and behind it, as a note, the text
 * that it stands for. Its own commands (/cost, /exit) have no such note.
 */
import type { Turn } from '../transcripts/turn.ts'

/** What else the client notes down behind a command is in tags, or its caveat about them. */
const otherNotes = /^\s*(?:<|Caveat:|$)/

export class ProjectCommands {
  private last: Turn | undefined

  /** The command that this turn is the text of. */
  turn(turn: Turn): Turn | undefined {
    const command = this.last
    this.last = turn.kind === 'command' ? turn : undefined
    return turn.kind === 'note' && turn.isMeta && !otherNotes.test(turn.text) ? command : undefined
  }
}
