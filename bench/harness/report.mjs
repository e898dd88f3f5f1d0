/** Prints what was measured, wins and losses alike, and keeps it for the result file. */

/**
 * @typedef {object} Line
 * @property {string} name
 * @property {number} value  the figure that is compared
 * @property {Record<string, number>} [more]  p50, p99, …, in the same unit unless `moreUnit` names another
 *
 * @typedef {object} Gate
 * @property {string} rival
 * @property {number} [atLeast]  times better than the rival: 5 means five times the rate, or a fifth of the time
 * @property {number} [atMostTimes]  of the rival's figure, for a floor that nothing can beat
 *
 * @typedef {object} Section
 * @property {string} title
 * @property {string} unit  `ns`, `µs`, `/s`
 * @property {string} [moreUnit]
 * @property {'lower' | 'higher'} better
 * @property {string} [subject]  whose line the ratios and the budget are about; none: the lines are of one contender
 * @property {Line[]} lines
 * @property {Gate[]} [gates]
 * @property {number} [budget]  in the unit: the subject's figure has to be at least this good
 * @property {string} [note]
 */

/** @type {(Section & { verdicts: { text: string, met: boolean }[] })[]} */
export const sections = []

/** @param {Section} section */
export function report(section) {
  const { title, unit, moreUnit = unit, better, subject, lines, gates = [], budget, note } = section
  const own = lines.find((line) => line.name === subject)
  const advantage = (line) => (better === 'lower' ? line.value / own.value : own.value / line.value)
  const verdicts = []

  const width = Math.max(...lines.map((line) => line.name.length))
  const rows = lines.map((line) => {
    const more = Object.entries(line.more ?? {}).map(([name, value]) => `${name} ${figure(value, moreUnit)}`)
    const ratio = line === own || own === undefined ? '' : compared(advantage(line))
    return `  ${line.name.padEnd(width)}  ${figure(line.value, unit).padStart(12)}   ${more.join('  ').padEnd(36)}  ${ratio}`.trimEnd()
  })
  for (const { rival, atLeast, atMostTimes } of gates) {
    const line = lines.find((candidate) => candidate.name === rival)
    if (!line) continue
    if (atLeast !== undefined) {
      const times = advantage(line)
      verdicts.push({ met: times >= atLeast, text: `${times.toFixed(2)}× better than ${rival}, wanted ${atLeast}×` })
    } else {
      const times = 1 / advantage(line)
      verdicts.push({ met: times <= atMostTimes, text: `${times.toFixed(2)} of ${rival}, allowed ${atMostTimes}` })
    }
  }
  if (budget !== undefined) {
    const met = better === 'lower' ? own.value <= budget : own.value >= budget
    verdicts.push({ met, text: `${figure(own.value, unit)}, budget ${figure(budget, unit)}` })
  }
  const ends = verdicts.map(({ met, text }) => `  ${met ? 'met' : 'MISSED'}: ${text}`)
  process.stdout.write(`${['', title, ...rows, ...ends, ...(note ? [`  ${note}`] : [])].join('\n')}\n`)
  sections.push({ ...section, verdicts })
}

/** Timings of {@link import('./measure.mjs').race} as lines. */
export function timingLines(timings) {
  return timings.map(({ name, median, p50, p99 }) => ({ name, value: median, more: { p50, p99 } }))
}

function compared(advantage) {
  return advantage >= 1 ? `${advantage.toFixed(2)}× ahead` : `LOSS: ${(1 / advantage).toFixed(2)}× behind`
}

function figure(value, unit) {
  if (!Number.isFinite(value)) return 'none'
  if (unit === '/s') return `${Math.round(value).toLocaleString('en')} /s`
  return `${value >= 1000 ? Math.round(value).toLocaleString('en') : value.toPrecision(3)} ${unit}`
}
