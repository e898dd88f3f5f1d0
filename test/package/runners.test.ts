import { existsSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { Counts, cargoCounts, vitestCounts } from '../../.ci/lib/counts.mjs'
import { cache, run } from '../../.ci/lib/process.mjs'
import { filesIn, hashOf, unlessBuilt } from '../../.ci/lib/stamp.mjs'

describe('the sum of the test runners', () => {
  it('adds every binary of a cargo run and lists what was ignored with its reason', () => {
    const lines = [
      'running 3 tests',
      'test ring::tests::wraps ... ok',
      'test real_inputs::bgp ... ignored, the data folder is absent',
      'test cursor::tests::skips ... FAILED',
      'test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s',
      '   Doc-tests linkmesh_tables',
      'test result: ok. 4 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.30s',
    ]
    const counts = cargoCounts('cargo test', { code: 101, lines })
    expect(counts.line).toBe('5 passed, 1 failed, 1 skipped')
    expect(counts.failures).toEqual(['cargo test: cursor::tests::skips'])
    expect([...counts.skipped]).toEqual([['the data folder is absent', 1]])
  })

  it('counts a run that broke before its tests as a failure', () => {
    expect(cargoCounts('loom', { code: 101, lines: ['error: could not compile'] }).line).toBe(
      '0 passed, 1 failed, 0 skipped',
    )
    expect(vitestCounts('vitest', 1, undefined).failed).toBe(1)
  })

  it('does not take a run without tests for a good one', () => {
    expect(cargoCounts('cargo test', { code: 0, lines: [] }).failed).toBe(1)
    expect(vitestCounts('vitest', 0, { passed: 0, failures: [], skipped: [] }).failed).toBe(1)
  })

  it('adds skips of one reason together', () => {
    const sum = new Counts()
    sum.add(vitestCounts('a', 0, { passed: 2, failures: [], skipped: ['no native addon', 'no native addon'] }))
    sum.add(vitestCounts('b', 1, { passed: 1, failures: ['x'], skipped: ['no native addon'] }))
    expect(sum.line).toBe('3 passed, 1 failed, 3 skipped')
    expect(sum.skipped.get('no native addon')).toBe(3)
  })
})

describe('stamps', () => {
  const name = `test-${process.pid}`
  afterEach(() => rmSync(join(cache, 'stamps', name), { force: true }))

  it('builds once for one hash, again for another, again when an output is gone, and never trusts a failed build', async () => {
    let built = 0
    const build = async () => {
      built += 1
    }
    await unlessBuilt(name, 'one', ['package.json'], build)
    expect(await unlessBuilt(name, 'one', ['package.json'], build)).toBe('up to date')
    expect(built).toBe(1)
    await unlessBuilt(name, 'two', ['package.json'], build)
    expect(built).toBe(2)
    await unlessBuilt(name, 'two', ['no-such-output'], build)
    expect(built).toBe(3)
    const broken = unlessBuilt(name, 'three', ['package.json'], () => Promise.reject(new Error('broken')))
    await expect(broken).rejects.toThrow('broken')
    expect(existsSync(join(cache, 'stamps', name))).toBe(false)
  })

  it('hashes names as well as contents, and facts such as a compiler version', () => {
    const files = filesIn('ts')
    expect(files).toContain('ts/binding/contract.ts')
    expect(hashOf(files)).toBe(hashOf(files))
    expect(hashOf(files, ['rustc 1.95'])).not.toBe(hashOf(files))
    expect(hashOf(files.slice(1))).not.toBe(hashOf(files))
  })
})

describe('running a program', () => {
  it('keeps both streams and the exit code', async () => {
    const { code, lines } = await run(process.execPath, ['-e', 'console.log(1); console.error(2); process.exit(3)'])
    expect(code).toBe(3)
    expect(lines.sort()).toEqual(['1', '2'])
  })

  it('ends a program that does not end by itself, and says so', async () => {
    const { code, output } = await run(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { timeoutMs: 300 })
    expect(code).not.toBe(0)
    expect(output).toContain('stopped: no end after')
  })

  it('reports a program that is not installed', async () => {
    expect((await run('no-such-program', [])).code).toBe(127)
  })
})
