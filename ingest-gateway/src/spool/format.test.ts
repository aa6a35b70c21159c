/**
 * Segments that earlier versions wrote (promise P15). The format of a frame may change only together with a new fixture;
 * the old ones stay and stay readable. `UPDATE_FIXTURES=1 npx vitest run ingest-gateway/src/spool/format.test.ts`
 * writes the one of the present format.
 */
import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { describe, expect, test } from 'vitest'
import { transcodeJson } from '../otlp/transcode-json.ts'
import { encodeFrameHeader } from './frame.ts'
import { readRecords } from './read-rows.ts'
import { scanSegment, segmentName } from './segment-file.ts'
import { openSpool } from './spool.ts'

const fixtures = path.resolve(import.meta.dirname, '../../../tests/fixtures/spool')
const present = path.join(fixtures, 'agf2.rowbinary')

/** Two requests, always the same bytes. */
function segmentOfToday(): Buffer {
  const receivedAtNs = 1_795_000_000_000_000_000n
  const frames = ['first', 'second'].map((text, i) => {
    const logRecords = [1, 2].map((n) => ({
      timeUnixNano: String(receivedAtNs - BigInt(n)),
      severityNumber: 9,
      severityText: 'INFO',
      eventName: 'fixture.event',
      body: { stringValue: `${text} ${n}` },
      attributes: [{ key: 'log.record.uid', value: { stringValue: `fixture-${i}-${n}` } }],
    }))
    const resource = { attributes: [{ key: 'service.name', value: { stringValue: 'fixture' } }] }
    const body = Buffer.from(JSON.stringify({ resourceLogs: [{ resource, scopeLogs: [{ logRecords }] }] }))
    const { bytes: payload } = transcodeJson(body, receivedAtNs)
    const request = {
      tenant: 'fixture',
      receivedAtNs: receivedAtNs + BigInt(i),
      requestHash: Buffer.alloc(16, `request ${i} `),
      ruleSet: Buffer.alloc(8, 1),
      ids: Buffer.alloc(16, 2),
      records: 2,
      payload,
    }
    const header = encodeFrameHeader(request, BigInt(1 + 2 * i), '01890000-0000-7000-8000-0000000f1c7f')
    return Buffer.concat([header, payload])
  })
  return Buffer.concat(frames)
}

describe('P15: segments of', () => {
  test('the present format are what the fixture holds', () => {
    if (process.env.UPDATE_FIXTURES === '1') writeFileSync(present, segmentOfToday())
    expect(segmentOfToday().equals(readFileSync(present))).toBe(true)
  })

  test.each(readdirSync(fixtures))('%s are read back, record by record', async (name) => {
    const bytes = readFileSync(path.join(fixtures, name))
    const { frames, damages } = scanSegment(bytes)
    expect(damages).toEqual([])
    expect(frames.map(({ seq, records, tenant }) => [seq, records, tenant])).toEqual([
      [1n, 2, 'fixture'],
      [3n, 2, 'fixture'],
    ])
    const bodies = frames.flatMap(({ offset, headerBytes, payloadBytes, format }) => {
      const payload = bytes.subarray(offset + headerBytes, offset + headerBytes + payloadBytes)
      return readRecords(payload, format).map(({ Body }) => Body)
    })
    expect(bodies).toEqual(['first 1', 'first 2', 'second 1', 'second 2'])

    const directory = mkdtempSync(path.join(tmpdir(), 'agnes-format-'))
    copyFileSync(path.join(fixtures, name), path.join(directory, segmentName(1n)))
    const spool = await openSpool({ directory })
    expect(spool.stats()).toMatchObject({ recoveredRecords: 4, quarantinedFrames: 0 })
    await spool.close()
    rmSync(directory, { recursive: true })
  })

  test('a newer release are refused, and left as they are; without any the spool is ours again', async () => {
    const directory = mkdtempSync(path.join(tmpdir(), 'agnes-format-'))
    const segment = path.join(directory, segmentName(1n))
    const mark = path.join(directory, 'format')
    copyFileSync(present, segment)
    writeFileSync(mark, '3\n')
    await expect(openSpool({ directory })).rejects.toMatchObject({
      exitCode: 3,
      message: expect.stringContaining('segments of a newer release (format 3; this one reads up to 2)'),
      hint: expect.stringContaining('newer release'),
    })
    expect(readdirSync(directory).sort()).toEqual(['format', segmentName(1n)])
    expect(readFileSync(segment).equals(readFileSync(present))).toBe(true)

    rmSync(segment)
    await (await openSpool({ directory })).close()
    expect(readFileSync(mark, 'utf8')).toBe('2\n')
    rmSync(directory, { recursive: true })
  })

  test.each(['', '2', 'x\n', '99999999999999\n'])('a spool whose mark is damaged (%j) are taken', async (damaged) => {
    const directory = mkdtempSync(path.join(tmpdir(), 'agnes-format-'))
    copyFileSync(present, path.join(directory, segmentName(1n)))
    writeFileSync(path.join(directory, 'format'), damaged)
    const spool = await openSpool({ directory })
    expect(spool.stats()).toMatchObject({ recoveredRecords: 4, quarantinedFrames: 0 })
    await spool.close()
    rmSync(directory, { recursive: true })
  })
})
