/** What a metric and a label may be called: the rules of `crates/metrics/src/names.rs`. */
import { exceeded, invalid } from './edge.js'
import { isWellFormed, utf8Length } from './text.js'

/** Longest name, bytes. */
const NAME_BYTES = 256
/** Longest label value or help, bytes. */
const TEXT_BYTES = 1_024
/** Labels of one series. */
const LABELS = 16

/** Prometheus data model: letters, digits, underscores and colons. */
export function checkMetricName(name: string): void {
  checkName('name', name, /^[A-Za-z_:][\w:]*$/)
}

export function checkHelp(help: string): void {
  if (utf8Length(help) > TEXT_BYTES) throw exceeded('help', 'the help is too long', TEXT_BYTES)
}

/** Labels of a series from a JSON object of strings, in the order of their names; '' is none. */
export function readLabels(json: string): [string, string][] {
  if (json === '') return []
  const wrong = () => invalid('labels', 'labels are an object of strings')
  let value: unknown
  try {
    value = JSON.parse(json)
  } catch {
    throw wrong()
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw wrong()
  const labels = Object.entries(value).map(([name, text]: [string, unknown]): [string, string] => {
    if (typeof text !== 'string' || !isWellFormed(text) || !isWellFormed(name)) throw wrong()
    return [name, text]
  })
  return labels.sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
}

/** At most 16 labels with names that Prometheus takes and that are not the format's own. */
export function checkLabels(labels: readonly (readonly [string, string])[]): void {
  if (labels.length > LABELS) throw exceeded('labels', 'too many labels', LABELS)
  for (const [name, text] of labels) {
    const field = `labels.${name}`
    checkName(field, name, /^[A-Za-z_]\w*$/)
    if (name.startsWith('__') || name === 'le' || name === 'quantile')
      throw invalid(field, 'this label name is reserved')
    if (utf8Length(text) > TEXT_BYTES) throw exceeded(field, 'the value is too long', TEXT_BYTES)
  }
}

function checkName(field: string, name: string, form: RegExp): void {
  if (utf8Length(name) > NAME_BYTES) throw exceeded(field, 'the name is too long', NAME_BYTES)
  if (!form.test(name))
    throw invalid(field, 'a name is letters, digits and underscores and does not start with a digit')
}
