/** The binding itself: what it says of itself, how it fails, and the one hash that both sides share. */
import { expect, it } from 'vitest'
import { type ErrorData, SCRATCH_WORDS, Status } from '../../ts/binding/contract.js'
import { onBothBackends, onBothTogether } from './backends.js'
import { Random } from './random.js'

/** FNV-1a then murmur3's fmix32, by wide integers: slow, and plainly the definition. */
function definedHash(key: string): number {
  const mask = 0xffffffffn
  let h = 0x811c9dc5n
  for (const byte of new TextEncoder().encode(key)) h = ((h ^ BigInt(byte)) * 0x01000193n) & mask
  h ^= h >> 16n
  h = (h * 0x85ebca6bn) & mask
  h ^= h >> 13n
  h = (h * 0xc2b2ae35n) & mask
  h ^= h >> 16n
  return Number(h) || 1
}

onBothBackends('binding', (binding) => {
  it('says what it is', () => {
    const info = binding().info()
    expect(['native', 'fallback']).toContain(info.backend)
    expect(info.version).toMatch(/^\d+\.\d+\.\d+/)
    expect(info.cpu).toContain('scalar')
    expect(info.capabilities.includes('workers')).toBe(info.backend === 'native')
  })

  it('has one scratch array for its whole life', () => {
    const scratch = binding().scratch()
    expect(scratch).toBeInstanceOf(Uint32Array)
    expect(scratch.length).toBe(SCRATCH_WORDS)
    scratch[SCRATCH_WORDS - 1] = 77
    expect(binding().scratch()[SCRATCH_WORDS - 1]).toBe(77)
  })

  it('stops a panic at its edge, says where it was, and lives on', () => {
    for (let i = 0; i < 3; i++) {
      expect(binding().selfTestPanic()).toBe(Status.Internal)
      const error = JSON.parse(binding().lastError()) as ErrorData
      expect(error.status).toBe(Status.Internal)
      expect(error.place).toMatch(/\.(rs|ts|js):\d+$/)
      expect(error.message).toContain('on purpose')
    }
    const table = binding().idTableOpen(null, 1)
    expect(binding().idTableSet(table, 'a', 1)).toBe(0)
    expect(binding().tableClose(table)).toBe(0)
  })

  it('hashes keys as defined, over UTF-8, never to 0', () => {
    const keys = ['', 'a', 'customer-7', '__proto__', 'a\0b', 'é', '日本', '😀', 'x'.repeat(5_000), 'é'.repeat(300)]
    for (const key of keys) expect(binding().hashKey(key), key.slice(0, 12)).toBe(definedHash(key))
    expect(binding().hashKey('\ud800')).toBe(Status.InvalidArgument)
    expect(binding().hashKey(7 as never)).toBe(Status.InvalidArgument)
  })
})

onBothTogether('hashKey', ({ native, fallback }) => {
  it('is the same number on both', () => {
    const random = new Random(3)
    for (let i = 0; i < 5_000; i++) {
      const key = String.fromCodePoint(
        ...random.some(12, () => random.of([random.below(128), random.below(0xd800), 0x10000 + random.below(0x1000)])),
      )
      expect(native.hashKey(key), JSON.stringify(key)).toBe(fallback.hashKey(key))
    }
  })
})
