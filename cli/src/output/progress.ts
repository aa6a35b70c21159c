/** A progress bar on standard error; nothing where that is no terminal. */

export interface Progress {
  update(done: number): void
  end(): void
}

export function startProgress(label: string, total: number): Progress {
  const { stderr } = process
  if (!stderr.isTTY) return { update: () => {}, end: () => {} }
  const width = 30
  const update = (done: number): void => {
    const share = total === 0 ? 1 : Math.min(1, done / total)
    const full = Math.round(share * width)
    stderr.write(`\r${label} ${'█'.repeat(full)}${'░'.repeat(width - full)} ${Math.round(share * 100)} %`)
  }
  return {
    update,
    end: () => {
      stderr.write('\r\u001b[K')
    },
  }
}
