/** What may be asked over the local socket, by name. Arguments are checked by what they are given to. */
import type { Policy } from '../binding/contract.js'
import type { LetterFilter } from '../binding/contract-journal.js'
import type { RedriveAllOptions } from '../dead-letters.js'
import { checkRecord } from '../mesh/checks.js'
import type { Mesh } from '../mesh.js'
import type { MetricsFormat } from '../metrics.js'
import type { InstanceTarget, Orderer } from './administration.js'

type Args = Record<string, unknown>
/** One answer. */
type Single = (mesh: Mesh, args: Args, who: Orderer, signal: AbortSignal) => unknown
/** Answers until the signal fires. */
type Many = (mesh: Mesh, args: Args, signal: AbortSignal) => AsyncIterable<unknown>

const target = (args: Args): InstanceTarget => {
  const { service, instance } = args as { service: string; instance?: string | number }
  return instance === undefined ? { service } : { service, instance }
}

function audit(mesh: Mesh, { by = 'socket' }: Orderer, action: string, details: object): Promise<number> {
  return mesh.audit.append({ actor: by, action: `admin.${action}`, target: 'dead letters', details })
}

export const SINGLES: Readonly<Record<string, Single>> = {
  list: (mesh) => mesh.admin.list(),
  drain: (mesh, args, who) => mesh.admin.drain(target(args), who),
  undrain: (mesh, args, who) => mesh.admin.undrain(target(args), who),
  eject: (mesh, args, who) =>
    mesh.admin.eject(target(args), { ...who, ...(args.forMs === undefined ? {} : { forMs: args.forMs as number }) }),
  'set-weight': (mesh, args, who) => mesh.admin.setWeight(target(args), args.weight as number, who),
  'open-breaker': (mesh, args, who) => mesh.admin.openBreaker(target(args), who),
  'close-breaker': (mesh, args, who) => mesh.admin.closeBreaker(target(args), who),
  reset: (mesh, args, who) => mesh.admin.reset(target(args), who),
  'change-policy': (mesh, args, who) => mesh.admin.changePolicy(args.service as string, args.policy as Policy, who),
  reload: (mesh, args, who) => mesh.admin.reload({ ...who, dryRun: args.dryRun === true }),
  dump: (mesh) => mesh.admin.dump(),
  redrive: async (mesh, args, who, signal) => {
    const filter = checkRecord(args.filter ?? {}, 'filter') as LetterFilter
    const { perSecond, force, dryRun } = checkRecord(args.options ?? {}, 'options') as RedriveAllOptions
    const options = {
      ...(perSecond === undefined ? {} : { perSecond }),
      ...(force === undefined ? {} : { force }),
      ...(dryRun === undefined ? {} : { dryRun }),
    }
    await audit(mesh, who, 'redrive', { filter, ...options })
    return mesh.deadLetters.redriveAll(filter, { ...options, ...who, signal })
  },
  purge: async (mesh, args, who) => {
    const filter = checkRecord(args.filter, 'filter') as LetterFilter
    const dryRun = args.dryRun === true
    await audit(mesh, who, 'purge', { filter, dryRun })
    return mesh.deadLetters.purge(filter, { dryRun, ...who })
  },
}

/** Bytes of a scrape that are made text at once. */
const SLICE = 64 << 10

/** A scrape in pieces: as one text, ten thousand series would hold the event loop. */
async function* scraped(mesh: Mesh, format: MetricsFormat): AsyncGenerator<string, void, undefined> {
  const bytes = await mesh.metrics.scrape(format)
  const decoder = new TextDecoder()
  for (let from = 0; from < bytes.length; from += SLICE) {
    yield decoder.decode(bytes.subarray(from, from + SLICE), { stream: from + SLICE < bytes.length })
    await new Promise((resolve) => setImmediate(resolve))
  }
}

export const MANY: Readonly<Record<string, Many>> = {
  follow: (mesh, _args, signal) => mesh.admin.follow(signal),
  metrics: (mesh, args) => scraped(mesh, (args.format as MetricsFormat | undefined) ?? 'prometheus'),
  picks: (mesh, args, signal) => mesh.admin.followPicks(args.service as string, signal),
}
