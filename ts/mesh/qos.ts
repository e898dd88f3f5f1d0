/** Classes of service by their words. */
import { Qos, type QosClass } from '../binding/contract.js'
import { invalid, shown } from './checks.js'

const NUMBERS: Readonly<Record<QosClass, Qos>> = {
  'best-effort': Qos.BestEffort,
  'high-throughput': Qos.HighThroughput,
  'low-latency': Qos.LowLatency,
  'high-reliability': Qos.HighReliability,
  critical: Qos.Critical,
}
const WORDS = Object.keys(NUMBERS) as QosClass[]

/** Letters appended by hand may say anything. */
export function isQosClass(word: string): word is QosClass {
  return Object.hasOwn(NUMBERS, word)
}

/** The number of a class, for the hot calls. */
export function checkQos(value: unknown, field: string): Qos {
  const found = typeof value === 'string' && isQosClass(value) ? NUMBERS[value] : undefined
  if (found === undefined) throw invalid(field, `${field} must be one of ${WORDS.join(', ')}, not ${shown(value)}`)
  return found
}

/** The word of a class; undefined for that of the service. */
export function qosWord(qos: Qos): QosClass | undefined {
  return WORDS[qos - 1]
}

/** A number that came from elsewhere: one that is no class is that of the service. */
export function qosOf(number: number): Qos {
  return number <= WORDS.length ? (number as Qos) : Qos.Default
}
