// A list that keeps what came last, at no cost for what came before: memory stays flat however long a page is open.

export class Ring<T> {
  #items: T[] = []
  #most: number

  constructor(most: number) {
    this.#most = most
  }

  /** Add what came, in order. */
  push(items: readonly T[]): void {
    if (items.length >= this.#most) {
      this.#items = items.slice(-this.#most)
      return
    }
    this.#items.push(...items)
    // Cutting off a quarter at a time costs less than moving all of it for each item.
    if (this.#items.length > this.#most * 1.25) this.#items = this.#items.slice(-this.#most)
  }

  clear(): void {
    this.#items = []
  }

  /** What is kept, oldest first; not to be changed. */
  get items(): readonly T[] {
    return this.#items
  }
}
