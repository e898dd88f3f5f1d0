import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { type DeadlineEntry, DeadlineWheel, TICK_MS } from '../../ts/mesh/deadlines.js'

let now = 0
vi.mock('../../ts/mesh/clock.js', () => ({ nowMs: () => now }))

class Alarm implements DeadlineEntry {
  deadline: number
  wheelNext: DeadlineEntry | undefined = undefined
  wheelPrevious: DeadlineEntry | undefined = undefined
  wheelBucket = -1
  firedAt: number | undefined
  onFire: (() => void) | undefined
  constructor(deadline: number) {
    this.deadline = deadline
  }
  onDeadline(): void {
    this.firedAt = now
    this.onFire?.()
  }
}

/** Virtual time: the wheel's timer and its clock move together. */
function pass(milliseconds: number): void {
  for (const end = now + milliseconds; now < end; ) {
    now += 1
    vi.advanceTimersByTime(1)
  }
}

describe('the deadline wheel', () => {
  beforeEach(() => {
    now = 1_000.25
    vi.useFakeTimers()
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  it('fires each deadline once, never early and at most two ticks late', () => {
    const wheel = new DeadlineWheel()
    const alarms = Array.from({ length: 500 }, (_, index) => new Alarm(now + 1 + ((index * 7_919) % 9_000)))
    for (const alarm of alarms) wheel.add(alarm)
    pass(9_100)
    for (const alarm of alarms) {
      expect(alarm.firedAt).toBeGreaterThanOrEqual(alarm.deadline)
      expect(alarm.firedAt).toBeLessThanOrEqual(alarm.deadline + 2 * TICK_MS)
    }
    expect(wheel.size).toBe(0)
  })

  it('fires neither what was removed nor what has no deadline', () => {
    const wheel = new DeadlineWheel()
    const [first, second, third] = [new Alarm(now + 50), new Alarm(now + 50), new Alarm(Number.POSITIVE_INFINITY)]
    for (const alarm of [first, second, third]) wheel.add(alarm)
    wheel.remove(first)
    wheel.remove(first)
    pass(20_000)
    expect([first.firedAt, third.firedAt]).toEqual([undefined, undefined])
    expect(second.firedAt).toBeDefined()
    expect(wheel.entries()).toEqual([third])
  })

  it('catches up after the event loop stood still for longer than a turn of the wheel', () => {
    const wheel = new DeadlineWheel()
    const alarms = [10, 100, 5_119, 5_120, 7_000].map((after) => new Alarm(now + after))
    for (const alarm of alarms) wheel.add(alarm)
    now += 60_000
    vi.advanceTimersByTime(TICK_MS)
    expect(alarms.map((alarm) => alarm.firedAt)).toEqual(alarms.map(() => now))
  })

  it('holds no timer when nothing waits, and starts again', () => {
    const wheel = new DeadlineWheel()
    const first = new Alarm(now + 20)
    wheel.add(first)
    expect(vi.getTimerCount()).toBe(1)
    pass(100)
    expect(vi.getTimerCount()).toBe(0)
    const second = new Alarm(now + 20)
    wheel.add(second)
    pass(40)
    expect(second.firedAt).toBeDefined()
    expect(vi.getTimerCount()).toBe(0)
  })

  it('allows a callback to add and remove its neighbours', () => {
    const wheel = new DeadlineWheel()
    const [first, second, later] = [new Alarm(now + 20), new Alarm(now + 20), new Alarm(now + 40)]
    second.onFire = () => wheel.remove(later)
    first.onFire = () => wheel.add(later)
    wheel.add(first)
    wheel.add(second)
    pass(200)
    expect([first.firedAt, second.firedAt, later.firedAt].every((at) => at !== undefined)).toBe(true)
    expect(wheel.size).toBe(0)
  })
})
