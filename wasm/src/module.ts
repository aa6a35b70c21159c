/** A module of one function and its memory: what our inner loops are. */
import { type Code, type, unsigned } from './code.ts'

export interface FunctionSource {
  /** Of the memory at first, 64 KiB each. */
  readonly pages: number
  /** How many there are of each type; they follow the three parameters. */
  readonly locals: readonly (readonly [count: number, valueType: (typeof type)[keyof typeof type]])[]
  /** Leaves one 32-bit integer; without the `end` of the function. */
  readonly body: Code
}

export interface Loaded {
  readonly memory: { readonly buffer: ArrayBuffer; grow(pages: number): number }
  /** Takes and returns 32-bit integers. */
  run(a: number, b: number, c: number): number
}

/** What we use of it; the types of Node.js 20 leave it out. @see https://webassembly.github.io/spec/js-api/ */
declare const WebAssembly: {
  readonly Module: new (bytes: Uint8Array) => object
  readonly Instance: new (module: object) => { readonly exports: unknown }
}

/** @throws WebAssembly.CompileError if the body is no valid code */
export function compile({ pages, locals, body }: FunctionSource): object {
  const declared = vector(locals.map(([count, valueType]) => [...unsigned(count), valueType]))
  const code = [...declared, ...body, end]
  return new WebAssembly.Module(
    Uint8Array.from([
      ...[0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00],
      ...section(1, vector([[functionType, ...vector([[type.i32], [type.i32], [type.i32]]), ...vector([[type.i32]])]])),
      ...section(3, vector([[0]])),
      ...section(5, vector([[0x00, ...unsigned(pages)]])),
      ...section(
        7,
        vector([
          [...name('memory'), 0x02, 0],
          [...name('run'), 0x00, 0],
        ]),
      ),
      ...section(10, vector([[...unsigned(code.length), ...code]])),
    ]),
  )
}

/** With a memory of its own. */
export function instantiate(compiled: object): Loaded {
  return new WebAssembly.Instance(compiled).exports as Loaded
}

/** @see WebAssembly core specification 2.0, sections 5.1 (vectors), 5.3.6 (function types), 5.5.2 (sections) */
const functionType = 0x60
const end = 0x0b
const vector = (items: readonly Code[]): number[] => [...unsigned(items.length), ...items.flat()]
const section = (id: number, content: Code): number[] => [id, ...unsigned(content.length), ...content]
const name = (text: string): number[] => [...unsigned(text.length), ...Buffer.from(text)]
