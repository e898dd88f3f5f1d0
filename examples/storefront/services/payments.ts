/** Payments: checks the card number and derives an authorisation. Not to be repeated: money moves. */
import { pbkdf2Sync } from 'node:crypto'
import { defineService } from 'linkmesh/config'
import { refuse } from './failure.js'

const ITERATIONS = 200

/** Luhn's check digit (ISO/IEC 7812-1). */
function luhn(digits: string): boolean {
  let sum = 0
  for (let at = 0; at < digits.length; at++) {
    const digit = Number(digits[digits.length - 1 - at])
    const doubled = at % 2 === 1 ? digit * 2 : digit
    sum += doubled > 9 ? doubled - 9 : doubled
  }
  return sum % 10 === 0
}

export default defineService({
  authorize({ card, cents, reference }: { card: string; cents: number; reference: string }) {
    if (!/^\d{12,19}$/.test(card) || !luhn(card)) throw refuse(422, 'The card number is wrong')
    if (!Number.isInteger(cents) || cents <= 0) throw refuse(422, 'The amount is not positive')
    const code = pbkdf2Sync(`${card}:${cents}`, reference, ITERATIONS, 12, 'sha256').toString('hex')
    return { code, card: `…${card.slice(-4)}`, cents }
  },
})
