/**
 * A map that remembers the last `size` to twice `size` entries, so that memory stays bounded whatever a file holds.
 *
 * Two generations instead of a queue: taking the oldest key out of a Map again and again walks over all that were taken
 * out before, which made a file of unanswered calls quadratic.
 */
export class Recent<V> {
  private young = new Map<string, V>()
  private old = new Map<string, V>()

  constructor(private readonly size: number) {}

  get(key: string): V | undefined {
    return this.young.get(key) ?? this.old.get(key)
  }

  set(key: string, value: V): void {
    if (this.young.size >= this.size && !this.young.has(key)) {
      this.old = this.young
      this.young = new Map()
    }
    this.young.set(key, value)
  }

  delete(key: string): void {
    this.young.delete(key)
    this.old.delete(key)
  }
}
