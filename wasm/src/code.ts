/**
 * What our inner loops over bytes are written in: instructions of WebAssembly, joined as arrays of bytes. A compiler
 * would be a dependency many times the size of what it compiles.
 */

/** Bytes of instructions. */
export type Code = readonly number[]

/** Instructions. @see WebAssembly core specification 2.0, section 5.4 */
export const op = {
  block: 0x02,
  loop: 0x03,
  if: 0x04,
  else: 0x05,
  noResult: 0x40,
  end: 0x0b,
  branch: 0x0c,
  branchIf: 0x0d,
  get: 0x20,
  set: 0x21,
  tee: 0x22,
  i32Store: 0x36,
  i32Const: 0x41,
  i64Const: 0x42,
  i32IsZero: 0x45,
  i32LessUnsigned: 0x49,
  i64IsZero: 0x50,
  i64LessUnsigned: 0x54,
  i32Add: 0x6a,
  i32Sub: 0x6b,
  i32And: 0x71,
  i32Or: 0x72,
  i32ShiftLeft: 0x74,
  i32ShiftRight: 0x76,
  i64TrailingZeros: 0x7a,
  i64Add: 0x7c,
  i64Sub: 0x7d,
  i64And: 0x83,
  i64Or: 0x84,
  i64Xor: 0x85,
  i64ShiftLeft: 0x86,
  i64ShiftRightSigned: 0x87,
  i32Wrap: 0xa7,
  i64ExtendUnsigned: 0xad,
} as const

/** Vector instructions, on sixteen bytes. @see WebAssembly core specification 2.0, section 5.4.9 */
export const simd = {
  load: [0xfd, 0x00],
  constant: [0xfd, 0x0c],
  swizzle: [0xfd, 0x0e],
  equal: [0xfd, 0x23],
  notEqual: [0xfd, 0x24],
  and: [0xfd, 0x4e],
  or: [0xfd, 0x50],
  anyTrue: [0xfd, 0x53],
  bitMask: [0xfd, 0x64],
  shiftRight: [0xfd, 0x6d],
} as const

/** Types of values. */
export const type = { i32: 0x7f, i64: 0x7e, v128: 0x7b } as const

/** As unsigned LEB128. @param value below 2³¹ */
export const unsigned = (value: number): number[] =>
  value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...unsigned(value >>> 7)]

const signed = (value: bigint): number[] => {
  const low = Number(value & 0x7fn)
  const rest = value >> 7n
  return (rest === 0n && low < 64) || (rest === -1n && low >= 64) ? [low] : [low | 0x80, ...signed(rest)]
}

/** A constant. */
export const i32 = (value: number): number[] => [op.i32Const, ...signed(BigInt(value))]
/** A constant. */
export const i64 = (value: bigint): number[] => [op.i64Const, ...signed(value)]
/** A vector of sixteen times this byte. */
export const splat = (byte: number): number[] => [...simd.constant, ...Array<number>(16).fill(byte)]
/** Reads a parameter or local. */
export const get = (local: number): number[] => [op.get, local]
/** Writes a parameter or local. */
export const set = (local: number): number[] => [op.set, local]
