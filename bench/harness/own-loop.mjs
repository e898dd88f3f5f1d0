/**
 * A function compiled from text that carries the contender's name, so that no two contenders run the same code.
 *
 * Closures of one text share what the compiler has learned about calls in it: the contender that warms up first would
 * be inlined, and every later one would pay for a call through a pointer.
 *
 * @param {string} name of the contender
 * @param {Record<string, unknown>} scope what the text may use
 * @param {string} text of a function expression
 * @returns {(count: number, first: number) => number | Promise<number>}
 */
export function ownLoop(name, scope, text) {
  return new Function(...Object.keys(scope), `// ${name}\nreturn ${text}`)(...Object.values(scope))
}
