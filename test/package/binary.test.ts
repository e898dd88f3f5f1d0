import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { binaryProblem, platformOf } from '../../.ci/lib/binary.mjs'
import { root } from '../../.ci/lib/process.mjs'

const targets: string[] = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).napi.targets

describe('released binaries', () => {
  it('every target has the platform name that the loader asks for', () => {
    expect(targets.map((target) => platformOf(target).name)).toEqual([
      'linux-x64-gnu',
      'linux-x64-musl',
      'linux-arm64-gnu',
      'darwin-x64',
      'darwin-arm64',
      'win32-x64-msvc',
    ])
    expect(() => platformOf('riscv64gc-unknown-linux-gnu')).toThrow('not a target that is released')
  })

  it('are refused for another operating system, processor or C library', () => {
    const elf = Buffer.alloc(256)
    elf.writeUInt32BE(0x7f454c46)
    elf.writeUInt16LE(0x3e, 18)
    elf.write('libc.so.6\0', 128)
    const gnu = platformOf('x86_64-unknown-linux-gnu')
    expect(binaryProblem(elf, gnu)).toBeUndefined()
    expect(binaryProblem(elf, platformOf('x86_64-unknown-linux-musl'))).toBe('needs glibc, but is for musl')
    expect(binaryProblem(elf, platformOf('aarch64-unknown-linux-gnu'))).toBe('machine 0x3e, not arm64')
    expect(binaryProblem(elf, platformOf('aarch64-apple-darwin'))).toBe('a library for linux, not darwin')
    expect(binaryProblem(Buffer.alloc(64), gnu)).toBe('not a library of any platform')
    expect(binaryProblem(Buffer.from('MZ'.padEnd(70, '\xff'), 'latin1'), gnu)).toBe('not a library of any platform')
  })

  it('the addon that was built here is one for here', ({ skip }) => {
    const folder = join(root, 'native')
    let built: string[] = []
    try {
      built = readdirSync(folder).filter((name) => name.endsWith('.node'))
    } catch {
      skip('no native addon is built')
    }
    for (const file of built) {
      const target = targets.find((target) => file === `linkmesh.${platformOf(target).name}.node`)
      if (target === undefined) continue
      expect(binaryProblem(readFileSync(join(folder, file)), platformOf(target))).toBeUndefined()
    }
  })
})
