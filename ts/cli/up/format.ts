/** Figures for people. */

/** Microseconds with a unit: `740 µs`, `1.24 ms`, `2.1 s`. */
export function time(us: number): string {
  if (!(us > 0)) return '-'
  if (us < 1_000) return `${Math.round(us)} µs`
  if (us < 1_000_000) return `${(us / 1_000).toFixed(us < 10_000 ? 2 : 1)} ms`
  return `${(us / 1_000_000).toFixed(1)} s`
}

/** Whole number with thousands separated: `12,345`. */
export function whole(value: number): string {
  return Math.round(value).toLocaleString('en-US')
}

/** SGR codes, or nothing when the output is no terminal or NO_COLOR is set (https://no-color.org). */
export function paint(enabled: boolean): (code: number, text: string) => string {
  return enabled ? (code, text) => `\u001b[${code}m${text}\u001b[0m` : (_, text) => text
}
export const BOLD = 1
export const DIM = 2
export const RED = 31
export const GREEN = 32
export const YELLOW = 33
