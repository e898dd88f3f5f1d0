/** Instances by address, as a config lists them: registered, changed, drained. */
import { type Config, mergePolicies } from '../../config/schema.js'
import type { Mesh, Registration } from '../../index.js'

type Listed = Extract<Config['upstreams'][string], readonly unknown[]>[number]

export class Upstreams {
  readonly #mesh: Mesh
  /** By upstream and address. */
  readonly #known = new Map<string, Map<string, { registration: Registration; text: string }>>()

  constructor(mesh: Mesh) {
    this.#mesh = mesh
  }

  /** Registers what the config lists and is not there yet, and changes what is there: policies, weights, tags, zones. */
  bring(config: Config): void {
    for (const [name, upstream] of Object.entries(config.upstreams)) {
      const { instances, policy } = Array.isArray(upstream) ? { instances: upstream, policy: undefined } : upstream
      this.#mesh.define(name, mergePolicies(config.policy, policy))
      const known = this.#known.get(name) ?? new Map<string, { registration: Registration; text: string }>()
      this.#known.set(name, known)
      for (const listed of instances) {
        const spec = specOf(listed)
        const text = JSON.stringify(spec)
        const there = known.get(listed.address)
        if (there === undefined) {
          const registration = this.#mesh.register(name, { address: listed.address, ...spec })
          known.set(listed.address, { registration, text })
        } else if (there.text !== text) {
          // What is not given any more has its default again.
          const { concurrency, ...rest } = spec
          there.registration.update({
            weight: 1,
            zone: '',
            tags: [],
            ...rest,
            ...(concurrency === undefined ? {} : { concurrency }),
          })
          there.text = text
        }
      }
    }
  }

  /** Drains and removes what the config does not list. Resolves when what they have taken is answered. */
  async prune(config: Config): Promise<void> {
    const leaving: Promise<void>[] = []
    for (const [name, known] of this.#known) {
      const upstream = config.upstreams[name] ?? []
      const listed = new Set((Array.isArray(upstream) ? upstream : upstream.instances).map(({ address }) => address))
      for (const [address, { registration }] of known) {
        if (listed.has(address)) continue
        known.delete(address)
        leaving.push(
          registration
            .drain()
            // Its time is up: it leaves with what it has.
            .catch(() => {})
            .then(() => registration.close()),
        )
      }
    }
    await Promise.all(leaving)
  }
}

function specOf({ weight, zone, tags, concurrency }: Listed) {
  return {
    ...(weight === undefined ? {} : { weight }),
    ...(zone === undefined ? {} : { zone }),
    ...(tags === undefined ? {} : { tags }),
    ...(concurrency === undefined ? {} : { concurrency }),
  }
}
