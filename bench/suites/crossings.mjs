/** What a call from JavaScript into the addon costs, against the hand-written C++ floor with the same functions. */
import { createRequire } from 'node:module'
import { buildFloor } from '../floor/build.mjs'
import { race } from '../harness/measure.mjs'
import { addon } from '../harness/native.mjs'
import { ownLoop } from '../harness/own-loop.mjs'
import { report, timingLines } from '../harness/report.mjs'

const INPUTS = 4_096
/** Of the floor's time. */
const ALLOWED = 1.3

export async function run({ random, rounds, roundMs }) {
  const floor = createRequire(import.meta.url)(await buildFloor())
  const native = await addon()
  const numbers = Uint32Array.from({ length: INPUTS }, () => random())
  // 24 characters, the length of an ordinary service name.
  const names = Array.from({ length: INPUTS }, () => `orders.${random().toString(36).padStart(8, '0')}`.padEnd(24, 'x'))
  const others = numbers.toReversed()

  const cases = [
    { title: 'empty', call: 'f(), 0', answer: () => 0, functions: ['floorEmpty', 'empty', 'rawEmpty'] },
    { title: 'u32 → u32', call: 'f(numbers[i])', answer: (i) => numbers[i], functions: ['floorU32', 'u32', 'rawU32'] },
    {
      title: '(u32, u32) → u32',
      call: 'f(numbers[i], others[i])',
      answer: (i) => numbers[i] ^ others[i],
      functions: ['floorU32U32', 'u32u32', 'rawU32U32'],
    },
    {
      title: '24-character string → u32',
      call: 'f(names[i])',
      answer: (i) => names[i].length,
      functions: ['floorLatin1', 'latin1', 'rawLatin1'],
    },
  ]
  for (const { title, call, answer, functions } of cases) {
    const loop = (name, f) =>
      ownLoop(
        name,
        { f, numbers, others, names },
        `(count, first) => {
          let digest = 0
          for (let n = 0; n < count; n++) {
            const i = (first + n) & ${INPUTS - 1}
            digest = (digest + (${call})) | 0
          }
          return digest
        }`,
      )
    const rivals = [
      ['linkmesh', native[functions[0]]],
      ['C++ node-addon-api', floor[functions[1]]],
      ['C interface, by hand', floor[functions[2]]],
    ].map(([name, f]) => ({ name, run: loop(name, f) }))
    const digest = (count, first) => {
      let sum = 0
      for (let n = 0; n < count; n++) sum = (sum + answer((first + n) & (INPUTS - 1))) | 0
      return sum
    }
    const timings = await race(rivals, digest, { random, rounds, roundMs })
    report({
      title,
      unit: 'ns',
      better: 'lower',
      subject: 'linkmesh',
      lines: timingLines(timings),
      gates: [{ rival: 'C++ node-addon-api', atMostTimes: ALLOWED }],
    })
  }
}
