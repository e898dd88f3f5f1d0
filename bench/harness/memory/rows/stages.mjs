/**
 * Where the time of one read goes: both threads that take part are sampled by `perf` while reads follow each other, and
 * each sample is counted for the stage that its function belongs to. Both threads are busy all the time, because each
 * looks for packets while the other works: so a share of the samples is the same share of the median round trip, a part
 * of which is what sampling costs.
 */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { quantile } from '../../measure.mjs'
import { report } from '../../report.mjs'

/** Stages, by what a system call or a function is called. The first that fits counts. */
const CALLS = [
  ['sendmsg: the kernel carries it to the peer', /sys_sendmsg/],
  ['recvmsg: a packet, or a look in vain', /sys_recvmsg/],
  ['waiting: yield', /sys_sched_yield/],
  ['event loop', /sys_epoll|sys_read|sys_write/],
]
const FUNCTIONS = [
  ['seal and open (AES-GCM)', /aes|gcm|aead|seal_|open_|iv_len|PacketKey|HeaderProtection|EVP_|CRYPTO_/i],
  ['operation, frame, answer', /linkmesh_memory|linkmesh_node/],
  ['QUIC: packets and acknowledgements', /quinn_proto|linkmesh_transport|bytes::/],
  ['crossing into the addon', /napi|v8impl|CallApiCallback|HandleApiCall|v8::(Value|External|Integer|Number|Function)/],
  ['into the kernel and out again', /do_syscall_64|entry_SYSCALL|sys_call|asynccancel|exit_to_user_mode|tls_get_addr/],
  ['clock', /clock_gettime|Timespec|Instant/],
  ['recvmsg: a packet, or a look in vain', /recvmsg/],
  ['sendmsg: the kernel carries it to the peer', /sendmsg/],
  ['waiting: yield', /sched_yield/],
  ['JavaScript: record, promise', /JS:|Builtins_|v8::|node::|uv_/],
  ['memory: copies and allocations', /mem(move|cpy|set|cmp)|malloc|free/],
]

export async function stages({ quick, contenders }) {
  if (spawnSync('perf', ['--version']).status !== 0) {
    process.stdout.write('\n  stages: perf is not here\n')
    return
  }
  const ours = await contenders.get('linkmesh')
  const folder = mkdtempSync(join(tmpdir(), 'linkmesh-bench-stages-'))
  try {
    const file = join(folder, 'samples')
    await reads(ours, 300)
    const seconds = quick ? 3 : 10
    const words = [
      'record',
      '-q',
      '-F',
      '4999',
      '-e',
      'cpu-clock',
      '-g',
      '-p',
      `${process.pid},${ours.pid}`,
      '-o',
      file,
    ]
    const perf = spawn('perf', [...words, '--', 'sleep', String(seconds)], { stdio: 'ignore' })
    const ended = once(perf, 'exit')
    const times = await reads(ours, seconds * 1_000 - 300)
    if ((await ended)[0] !== 0) {
      process.stdout.write('\n  stages: perf may not record here (kernel.perf_event_paranoid)\n')
      return
    }
    const counted = await count(file, ours.pid)
    const median = quantile(times, 0.5)
    for (const [where, found] of Object.entries(counted)) {
      const all = [...found.values()].reduce((sum, samples) => sum + samples, 0)
      const lines = [...found].map(([name, samples]) => ({ name, value: (samples / all) * median }))
      lines.sort((a, b) => b.value - a.value)
      report({
        title: `one read of 64 bytes, p50 ${median.toFixed(1)} µs: ${where}`,
        unit: 'µs',
        better: 'lower',
        lines,
        note: `${all} samples`,
      })
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Times of reads one after the other, µs. */
async function reads(ours, ms) {
  const times = []
  const until = performance.now() + ms
  for (let now = performance.now(); now < until; ) {
    await ours.far.one()
    const then = performance.now()
    times.push((then - now) * 1_000)
    now = then
  }
  return times
}

/** Samples by stage, of the thread that reads and of the engine of the other process. */
async function count(file, server) {
  const perf = spawn('perf', ['script', '-i', file, '-F', 'comm,pid,tid,ip,sym,dso'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  const here = new Map()
  const there = new Map()
  let thread
  let stack = []
  const end = () => {
    if (thread !== undefined && stack.length > 0) {
      const stage = stageOf(stack)
      thread.set(stage, (thread.get(stage) ?? 0) + 1)
    }
    stack = []
  }
  for await (const line of createInterface({ input: perf.stdout })) {
    const head = /^\s*(\S.*?)\s+(\d+)\/(\d+)\s*$/.exec(line)
    if (head !== null) {
      end()
      const [, comm, pid, tid] = head
      if (Number(pid) === server) thread = comm.startsWith('linkmesh-engine') ? there : undefined
      else thread = pid === tid ? here : undefined
    } else if (line.trim() !== '') stack.push(line.trim())
  }
  end()
  return { 'the thread that reads': here, "the other process's engine": there }
}

function stageOf(stack) {
  for (const [name, pattern] of CALLS) if (stack.some((frame) => pattern.test(frame))) return name
  for (const [name, pattern] of FUNCTIONS) if (pattern.test(stack[0])) return name
  // Code that V8 made has no symbol.
  return /\[unknown\]/.test(stack[0]) && !/\.(so|node)/.test(stack[0]) ? 'JavaScript: record, promise' : 'other'
}
