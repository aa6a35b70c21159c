/** A progress bar on standard error; nothing where that is no terminal. */

export interface Progress {
  update(done: number): void
  /** Wipes the bar. */
  end(): void
}

const width = 30

export function startProgress(label: string, total: number, stream: NodeJS.WriteStream = process.stderr): Progress {
  if (!stream.isTTY) return { update: () => {}, end: () => {} }
  return {
    update: (done) => {
      const share = total === 0 ? 1 : Math.min(1, done / total)
      const full = Math.round(share * width)
      stream.write(`\r${label} ${'█'.repeat(full)}${'░'.repeat(width - full)} ${Math.round(share * 100)} %`)
    },
    end: () => {
      stream.write('\r\u001b[K')
    },
  }
}
