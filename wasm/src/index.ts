/** The only door of this room. */
export { type Code, get, i32, i64, op, set, simd, splat, type, unsigned } from './code.ts'
export { compile, type FunctionSource, instantiate, type Loaded } from './module.ts'
