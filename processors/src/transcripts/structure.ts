/**
 * Where the strings and brackets of a line of JSON are, sixteen bytes a step, as a WebAssembly module of our own making:
 * a loop over bytes in JavaScript is as slow as JSON.parse, and most bytes of a transcript are text nobody asks for.
 *
 * The method is simdjson's first stage (Langdale and Lemire, "Parsing Gigabytes of JSON per Second"): masks of quotes and
 * backslashes, 64 bytes each; quotes behind an odd number of backslashes are taken out; the prefix sum of the rest tells
 * what lies within strings; brackets there are taken out too.
 */

import { compile, get, i32, i64, instantiate, op, set, simd, splat, type, unsigned } from '@agnes/wasm'

/** One line of JSON, and the offsets of its quotes and of the brackets outside of strings, ascending. */
export interface IndexedLine {
  readonly bytes: Buffer
  /** The same bytes, for reading four at once. */
  readonly view: DataView
  readonly tokens: Uint32Array
  /** Where the line ends. The tokens are followed by this, twice. */
  readonly end: number
}

export interface Indexer {
  /** `capacity` bytes that lines are written into; another buffer after each `grow`. */
  readonly bytes: Buffer
  readonly capacity: number
  /** Makes room for so many bytes; what was there stays. */
  grow(capacity: number): void
  /** Indexes the line between `start` and `end`. The result holds until the next call. */
  index(start: number, end: number): IndexedLine
}

const pageBytes = 65_536
const blockBytes = 64
let compiled: object | undefined

/** Bytes of a line that fit without growing. */
const firstCapacity = 512 * 1024
const maxIdle = 4
const idle: Indexer[] = []

/**
 * An indexer for one transcript at a time; `giveBack` lets the next one use it. Each has a memory of its own, for which
 * the platform sets gigabytes of addresses aside until the garbage collector comes by.
 */
export function borrowIndexer(): Indexer {
  return idle.pop() ?? createIndexer(firstCapacity)
}

export function giveBack(indexer: Indexer): void {
  if (idle.length < maxIdle && indexer.capacity === firstCapacity) idle.push(indexer)
}

function createIndexer(capacity: number): Indexer {
  compiled ??= assemble()
  const { memory, run } = instantiate(compiled)
  let size = 0
  let bytes = Buffer.alloc(0)
  let view = new DataView(memory.buffer)
  let tokens = new Uint32Array(0)
  let tokensAt = 0
  grow(capacity)

  function grow(to: number): void {
    size = Math.ceil(to / blockBytes) * blockBytes
    // A block may reach beyond the last line; each byte may be a token, and three offsets more close the list.
    tokensAt = size + blockBytes
    const needed = Math.ceil((tokensAt + 4 * (size + 4)) / pageBytes)
    const pages = memory.buffer.byteLength / pageBytes
    if (needed > pages) memory.grow(needed - pages)
    bytes = Buffer.from(memory.buffer, 0, size)
    view = new DataView(memory.buffer)
    tokens = new Uint32Array(memory.buffer, tokensAt, size + 4)
  }

  return {
    get bytes() {
      return bytes
    },
    get capacity() {
      return size
    },
    grow,
    index(start, end) {
      const count = end > start ? run(start, end, tokensAt) : 0
      tokens[count] = end
      tokens[count + 1] = end
      return { bytes, view, tokens, end }
    },
  }
}

/** `run(at, end, out)`: writes the offsets of the tokens in [at, end) as 32-bit integers; returns how many. */
function assemble(): object {
  const [at, end, out, firstOut] = [0, 1, 2, 3]
  const [backslash, quote, found, follows, oddStarts, sum, escapes, inString] = [4, 5, 6, 7, 8, 9, 10, 11]
  const firstVector = 12
  const vectors = [0, 1, 2, 3]

  const not = (code: readonly number[]): number[] => [...code, ...i64(-1n), op.i64Xor]
  /** The mask of the 64 bytes for which `test`, applied to each vector, is all ones. */
  const mask = (test: (vector: number) => number[]): number[] =>
    vectors.flatMap((i) => [
      ...[...test(firstVector + i), ...simd.bitMask, op.i64ExtendUnsigned],
      ...(i === 0 ? [] : [...i64(BigInt(16 * i)), op.i64ShiftLeft, op.i64Or]),
    ])
  const is = (byte: number) => (v: number) => [...get(v), ...splat(byte), ...simd.equal]
  /** `{` and `[` differ in one bit, as do `}` and `]`. */
  const isBracket = (v: number): number[] => {
    const folded = [...get(v), ...splat(0x20), ...simd.or]
    return [...folded, ...splat(0x7b), ...simd.equal, ...folded, ...splat(0x7d), ...simd.equal, ...simd.or]
  }
  const evenBits = i64(0x5555_5555_5555_5555n)
  /** `found ^= found << places` */
  const spread = (places: number): number[] => [
    ...[...get(found), ...get(found), ...i64(BigInt(places)), op.i64ShiftLeft, op.i64Xor],
    ...set(found),
  ]

  const body = [
    ...[...get(out), ...set(firstOut)],
    ...[op.loop, op.noResult],
    ...vectors.flatMap((i) => [...get(at), ...simd.load, 0, ...unsigned(16 * i), ...set(firstVector + i)]),
    ...[...mask(is(0x5c)), ...set(backslash)],
    ...[...mask(is(0x22)), ...set(quote)],

    // Quotes behind an odd number of backslashes; `escapes` is 1 if the first byte of the next block is escaped.
    ...[...get(backslash), ...get(escapes), op.i64Or, op.i64IsZero, op.if, op.noResult, op.else],
    ...[...get(backslash), ...not(get(escapes)), op.i64And, ...set(backslash)],
    ...[...get(backslash), ...i64(1n), op.i64ShiftLeft, ...get(escapes), op.i64Or, ...set(follows)],
    ...[...get(backslash), ...not(evenBits), op.i64And, ...not(get(follows)), op.i64And, ...set(oddStarts)],
    ...[...get(oddStarts), ...get(backslash), op.i64Add, op.tee, sum],
    ...[...get(backslash), op.i64LessUnsigned, op.i64ExtendUnsigned, ...set(escapes)],
    ...[...evenBits, ...get(sum), ...i64(1n), op.i64ShiftLeft, op.i64Xor, ...get(follows), op.i64And, ...set(follows)],
    ...[...get(quote), ...not(get(follows)), op.i64And, ...set(quote)],
    op.end,

    // Each bit becomes the parity of the quotes up to it: 1 within strings.
    ...[...get(quote), ...set(found)],
    ...[1, 2, 4, 8, 16, 32].flatMap(spread),
    ...[...get(found), ...get(inString), op.i64Xor, op.tee, found],
    ...[...i64(63n), op.i64ShiftRightSigned, ...set(inString)],
    ...[...mask(isBracket), ...not(get(found)), op.i64And, ...get(quote), op.i64Or, ...set(found)],

    // What lies beyond the line does not count.
    ...[...get(end), ...get(at), op.i32Sub, ...i32(blockBytes), op.i32LessUnsigned, op.if, op.noResult],
    ...[...get(found), ...i64(1n), ...get(end), ...get(at), op.i32Sub, op.i64ExtendUnsigned, op.i64ShiftLeft],
    ...[...i64(1n), op.i64Sub, op.i64And, ...set(found)],
    op.end,

    ...[op.block, op.noResult, op.loop, op.noResult],
    ...[...get(found), op.i64IsZero, op.branchIf, 1],
    ...[...get(out), ...get(at), ...get(found), op.i64TrailingZeros, op.i32Wrap, op.i32Add, op.i32Store, 2, 0],
    ...[...get(out), ...i32(4), op.i32Add, ...set(out)],
    ...[...get(found), ...get(found), ...i64(1n), op.i64Sub, op.i64And, ...set(found)],
    ...[op.branch, 0, op.end, op.end],

    ...[...get(at), ...i32(blockBytes), op.i32Add, op.tee, at, ...get(end), op.i32LessUnsigned, op.branchIf, 0],
    op.end,
    ...[...get(out), ...get(firstOut), op.i32Sub, ...i32(2), op.i32ShiftRight],
  ]
  return compile({
    pages: 1,
    locals: [
      [1, type.i32],
      [8, type.i64],
      [vectors.length, type.v128],
    ],
    body,
  })
}
