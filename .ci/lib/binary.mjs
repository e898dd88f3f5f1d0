/** What platform a Rust target is for npm, and whether a file is a library for it. */

const CPU = { x86_64: 'x64', aarch64: 'arm64' }
const OS = { linux: 'linux', darwin: 'darwin', windows: 'win32' }
const LIBC = { gnu: 'glibc', musl: 'musl' }
/** `e_machine` of ELF, `cputype` of Mach-O, `Machine` of PE. */
const MACHINE = {
  linux: { x64: 0x3e, arm64: 0xb7 },
  darwin: { x64: 0x01000007, arm64: 0x0100000c },
  win32: { x64: 0x8664, arm64: 0xaa64 },
}

/** @typedef {{ name: string, os: string, cpu: string, libc?: string }} Platform `name` is `linux-x64-gnu`, `darwin-arm64`, … */

/**
 * @param {string} target a Rust target triple
 * @returns {Platform}
 */
export function platformOf(target) {
  const [arch, , system, abi] = target.split('-')
  const os = OS[system]
  const cpu = CPU[arch]
  if (!os || !cpu) throw new Error(`${target}: not a target that is released`)
  return { name: [os, cpu, abi].filter(Boolean).join('-'), os, cpu, ...(os === 'linux' && { libc: LIBC[abi] }) }
}

/**
 * Reads the header, not the name.
 *
 * @param {Buffer} bytes of the file
 * @param {Platform} platform
 * @returns {string | undefined} what is wrong with it
 */
export function binaryProblem(bytes, { os, cpu, libc }) {
  const found = header(bytes)
  if (found === undefined) return 'not a library of any platform'
  if (found.os !== os) return `a library for ${found.os}, not ${os}`
  if (found.machine !== MACHINE[os][cpu]) return `machine 0x${found.machine.toString(16)}, not ${cpu}`
  // The dynamic section names its libraries in the string table, in plain text.
  const musl = bytes.includes('libc.musl-') || bytes.includes('libc.so\0')
  const glibc = bytes.includes('libc.so.6\0')
  if (libc === 'musl' && glibc) return 'needs glibc, but is for musl'
  if (libc === 'glibc' && musl && !glibc) return 'needs musl, but is for glibc'
}

function header(bytes) {
  if (bytes.length < 64) return undefined
  if (bytes.readUInt32BE(0) === 0x7f454c46) return { os: 'linux', machine: bytes.readUInt16LE(18) }
  if (bytes.readUInt32LE(0) === 0xfeedfacf) return { os: 'darwin', machine: bytes.readUInt32LE(4) }
  if (bytes.toString('latin1', 0, 2) === 'MZ') {
    const at = bytes.readUInt32LE(0x3c)
    if (at + 6 <= bytes.length && bytes.toString('latin1', at, at + 4) === 'PE\0\0') {
      return { os: 'win32', machine: bytes.readUInt16LE(at + 4) }
    }
  }
}
