import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { expect, test } from 'vitest'
import { scanSegment } from '../../../ingest-gateway/src/spool/segment-file.ts'
import { openSpool } from '../../../ingest-gateway/src/spool/spool.ts'

test('P5: each single bit of a segment: flipped, it costs exactly the frame it is in', async () => {
  const directory = mkdtempSync(path.join(tmpdir(), 'agnes-rot-'))
  const spool = await openSpool({ directory })
  for (let i = 0; i < 16; i++) {
    const payload = Buffer.alloc(200 + 97 * i, `payload ${i} `)
    await spool.append({ tenant: 'default', receivedAtNs: 1n, requestHash: Buffer.alloc(16, i), records: 1, payload })
  }
  await spool.close()
  const [segment = ''] = readdirSync(directory).filter((name) => name.startsWith('seg-'))
  const bytes = readFileSync(path.join(directory, segment))
  rmSync(directory, { recursive: true })
  const offsets = scanSegment(bytes).frames.map(({ offset }) => offset)
  expect(offsets).toHaveLength(16)
  let wrong = 0
  for (let at = 0; at < bytes.length; at++) {
    const hit = offsets.findLastIndex((offset) => offset <= at)
    for (let bit = 0; bit < 8; bit++) {
      bytes[at] = (bytes[at] as number) ^ (1 << bit)
      const { frames, damages } = scanSegment(bytes)
      const kept = frames.map(({ offset }) => offset)
      if (damages.length !== 1 || kept.length !== 15 || kept.includes(offsets[hit] as number)) wrong++
      bytes[at] = (bytes[at] as number) ^ (1 << bit)
    }
  }
  console.log(`bit rot: ${bytes.length * 8} flipped bits, ${wrong} not noticed or too costly`)
  expect(wrong).toBe(0)
})
