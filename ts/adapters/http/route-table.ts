/** Which route a method and a path belong to: one compressed radix arena per method. */
import { LinkmeshError } from '../../errors.js'
import { CompressedRadixArena, SPANS_LENGTH } from '../../tables.js'
import { METHODS, type RouteKey } from './route-key.js'
import { decodePart } from './target.js'

/** Found: index of the route and its path parameters, decoded. */
export interface RouteMatch {
  route: number
  parameters: Record<string, string>
}

/** Nothing found: the methods the path has routes for; empty when there is no such path. */
export interface RouteMiss {
  allow: string[]
}

export class RouteTable {
  private readonly arenas = new Map<string, CompressedRadixArena>()
  private readonly spans = new Uint32Array(SPANS_LENGTH)

  /** Adds a route. Throws `LM_DUPLICATE` for a second one of the same paths, and what the arena throws for a pattern it cannot read. */
  add({ method, pattern }: RouteKey, route: number): void {
    let arena = this.arenas.get(method)
    if (!arena) {
      arena = new CompressedRadixArena()
      this.arenas.set(method, arena)
    }
    const before = arena.size
    arena.insert(encodePattern(pattern), route)
    if (arena.size > before) return
    const message = `${method} ${pattern} matches the same paths as an earlier route`
    throw new LinkmeshError('LM_DUPLICATE', message, { field: `routes["${method} ${pattern}"]` })
  }

  /**
   * Route of a method and an encoded path. HEAD falls back to GET (RFC 9110 §9.3.2); a route for a method goes before
   * one for ANY, however specific.
   */
  match(method: string, path: string): RouteMatch | RouteMiss {
    const found =
      this.lookUp(method, path) ??
      (method === 'HEAD' ? this.lookUp('GET', path) : undefined) ??
      (isMethod(method) ? this.lookUp('ANY', path) : undefined)
    return found ?? { allow: this.allowed(path) }
  }

  /** Methods that have a route for this path; with any, HEAD (when GET is) and OPTIONS too. */
  allowed(path: string): string[] {
    const methods = new Set<string>()
    for (const [method, arena] of this.arenas) if (arena.match(path) >= 0) methods.add(method)
    if (methods.size === 0) return []
    if (methods.has('ANY')) return [...METHODS]
    if (methods.has('GET')) methods.add('HEAD')
    methods.add('OPTIONS')
    return METHODS.filter((method) => methods.has(method))
  }

  /** Gives the arenas back. */
  dispose(): void {
    for (const arena of this.arenas.values()) arena.close()
    this.arenas.clear()
  }

  private lookUp(method: string, path: string): RouteMatch | undefined {
    const arena = this.arenas.get(method)
    if (!arena) return undefined
    const route = arena.match(path, this.spans)
    if (route < 0) return undefined
    return { route, parameters: this.spans[1] === 0 ? {} : decoded(arena.params(path, this.spans)) }
  }
}

function isMethod(method: string): boolean {
  return (METHODS as readonly string[]).includes(method)
}

function decoded(parameters: Record<string, string>): Record<string, string> {
  for (const name of Object.keys(parameters)) parameters[name] = decodePart(parameters[name] as string)
  return parameters
}

/** Literals are matched against the encoded path, so a pattern's own non-ASCII letters are encoded once, here. */
function encodePattern(pattern: string): string {
  return pattern.replace(/[^\x21-\x7e]+/gu, (text) => encodeURIComponent(text))
}
