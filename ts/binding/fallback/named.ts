/** Tables by name within one thread: the same name is the same table while anybody holds it. */

interface Held<T> {
  readonly table: T
  holders: number
}

export class Named<T> {
  readonly #tables = new Map<string, Held<T>>()

  /** The table of that name, made by `make` when there is none. Without a name: a new one of its own. */
  open(name: string | undefined, make: () => T): T {
    if (name === undefined) return make()
    const held = this.#tables.get(name) ?? { table: make(), holders: 0 }
    held.holders++
    this.#tables.set(name, held)
    return held.table
  }

  /** Gives one hold back; the last one forgets the table. */
  close(name: string | undefined): void {
    const held = name === undefined ? undefined : this.#tables.get(name)
    if (name === undefined || held === undefined) return
    held.holders--
    if (held.holders === 0) this.#tables.delete(name)
  }
}
