import { expect, it } from 'vitest'
import { choose } from '../../ts/binding/index.js'
import { loadNative, packageRoot, platformName } from '../../ts/binding/native.js'
import type { LinkmeshError } from '../../ts/errors.js'

function withPath<T>(path: string, work: () => T): T {
  const before = process.env.LINKMESH_NATIVE_PATH
  process.env.LINKMESH_NATIVE_PATH = path
  try {
    return work()
  } finally {
    if (before === undefined) delete process.env.LINKMESH_NATIVE_PATH
    else process.env.LINKMESH_NATIVE_PATH = before
  }
}

function failure(work: () => unknown): LinkmeshError {
  try {
    work()
  } catch (error) {
    return error as LinkmeshError
  }
  throw new Error('it did not throw')
}

it('names the platform as the packages do, and finds the root of the package', () => {
  expect(platformName()).toMatch(/^(linux-\w+-(gnu|musl)|darwin-\w+|win32-\w+-msvc)$/)
  expect(packageRoot()).toBe(process.cwd())
})

it('tries nothing else when a path was named, and says what was wrong with it', () => {
  const error = failure(() => withPath('/nowhere/linkmesh.node', loadNative))
  expect(error.code).toBe('LM_NATIVE_REQUIRED')
  expect(error.message).toContain('/nowhere/linkmesh.node')
  expect(error.message).toContain('npm run build')
  const { errors } = error.cause as AggregateError
  expect(errors).toHaveLength(1)
  expect((errors[0] as Error).cause).toMatchObject({ code: 'MODULE_NOT_FOUND' })
})

it('refuses a file that is no addon of this release', () => {
  const error = failure(() => withPath(`${process.cwd()}/package.json`, loadNative))
  expect(error.code).toBe('LM_NATIVE_REQUIRED')
})

it('chooses as it is told, falls back with the reason, and refuses nonsense', () => {
  expect(choose('fallback').backend).toEqual({ kind: 'fallback', reason: expect.stringContaining('LINKMESH_BACKEND') })
  expect(failure(() => withPath('/nowhere/linkmesh.node', () => choose('native'))).code).toBe('LM_NATIVE_REQUIRED')
  expect(withPath('/nowhere/linkmesh.node', () => choose(undefined)).backend).toEqual({
    kind: 'fallback',
    reason: expect.stringContaining('/nowhere/linkmesh.node'),
  })
  expect(failure(() => choose('quick'))).toMatchObject({ code: 'LM_INVALID_ARGUMENT', field: 'LINKMESH_BACKEND' })
})
