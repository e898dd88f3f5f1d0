/** How a route is written: `GET /orders/:id`. */

/** Methods a route can be written for; `ANY` is all of them. */
export const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'] as const
export type Method = (typeof METHODS)[number] | 'ANY'

export interface RouteKey {
  method: Method
  /** Path pattern as the arena reads it. */
  pattern: string
}

/** Splits `GET /orders/:id`; a text says what is wrong with it. */
export function parseRouteKey(key: string): RouteKey | string {
  const parts = /^([A-Z]+) +(\/\S*)$/.exec(key)
  if (!parts)
    return `a route is a method, a space and a path, \`GET /orders/:id\`; found ${JSON.stringify(key.slice(0, 80))}`
  const [, method, pattern] = parts as unknown as [string, string, string]
  if (method !== 'ANY' && !(METHODS as readonly string[]).includes(method))
    return `the method is one of ${METHODS.join(', ')}, ANY; found ${method}`
  if (/[?#]/.test(pattern)) return 'a path pattern has no query and no fragment'
  return { method: method as Method, pattern }
}
