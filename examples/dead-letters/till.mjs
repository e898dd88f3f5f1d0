/** A till with a card terminal. The terminal of `till-2` is broken while there is a file `till-2.broken`. */
import { appendFileSync, existsSync } from 'node:fs'

const beside = (name) => new URL(name, import.meta.url)

/** Which instance of the config this thread is. */
function instanceOf({ mesh, service }) {
  const { instances } = mesh.services().find(({ name }) => name === service)
  return instances.find(({ thread }) => thread === mesh.threadId).metadata.instance
}

export default {
  pay({ order, cents }, ctx) {
    const till = instanceOf(ctx)
    if (existsSync(beside(`${till}.broken`)))
      throw Object.assign(new Error(`the card terminal of ${till} does not answer`), { code: 'TERMINAL_BROKEN' })
    appendFileSync(beside('paid.txt'), `${order} ${cents}\n`)
    return { order, paid: cents, till }
  },
}
