/** The `admin` group of the command line: its commands and their options. */
import { type Command, Option } from 'commander'
import type { MeshChoice, OrderOptions } from './admin.js'

/** What the command line shares among its groups. */
export interface Kit {
  wholeNumber(min: number, max: number): (text: string) => number
  json(): Option
  guarded<Arguments extends unknown[]>(
    run: (...given: Arguments) => Promise<void>,
    isJson: (given: Arguments) => boolean,
  ): (...given: Arguments) => Promise<void>
}

const FORMATS = ['prometheus', 'openmetrics', 'json', 'csv', 'erlang', 'points'] as const

/** Options that choose the mesh. */
export function choosing(command: Command, { wholeNumber, json }: Kit): Command {
  return command
    .option('--mesh <name>', 'name of the mesh, when several run')
    .option('--pid <n>', 'process of the mesh, when several run', wholeNumber(1, 2 ** 31 - 1))
    .option('--socket <path>', 'its socket, as `linkmesh admin meshes` shows it')
    .addOption(json())
}

export function addAdminCommands(program: Command, kit: Kit): void {
  const { wholeNumber, guarded } = kit
  const admin = program
    .command('admin')
    .description('orders to a running mesh of this user, by a local socket; every order is in the audit trail')

  admin
    .command('meshes')
    .description('meshes of this user that listen')
    .addOption(kit.json())
    .action(
      guarded(
        async (options: { json?: boolean }) => (await import('./admin.js')).adminMeshes(options),
        ([options]) => options.json === true,
      ),
    )
  choosing(admin.command('list').description('services and instances'), kit).action(
    guarded(
      async (options: MeshChoice) => (await import('./admin.js')).adminList(options),
      ([options]) => options.json === true,
    ),
  )

  const order = (
    name: string,
    description: string,
    op: string,
    what: string,
    argsOf: (options: { for?: number }) => object = () => ({}),
  ): Command =>
    choosing(
      admin
        .command(name)
        .description(description)
        .argument('<service>', 'as in `linkmesh admin list`')
        .argument('[instance]', 'its name, address or number there')
        .option('--all', 'all instances of the service'),
      kit,
    ).action(
      guarded(
        async (service: string, instance: string | undefined, options: OrderOptions & { for?: number }) =>
          (await import('./admin.js')).adminOrder(op, what, service, instance, argsOf(options), options),
        ([, , options]) => options.json === true,
      ),
    )
  order('drain', 'no new requests to an instance; those under way finish', 'drain', 'is draining')
  order('undrain', 'requests again', 'undrain', 'takes requests again')
  order('eject', 'keep an instance out for a while', 'eject', 'is ejected', (options) =>
    options.for === undefined ? {} : { forMs: options.for * 1_000 },
  ).option('--for <seconds>', 'how long; default 30, 0 ends an ejection', wholeNumber(0, 3_600))
  order('open-breaker', 'open the breaker until it is closed by hand', 'open-breaker', 'has an open breaker')
  order('close-breaker', 'close the breaker, with nothing remembered', 'close-breaker', 'has a closed breaker')
  order('reset', 'forget what was learned of an instance', 'reset', 'begins anew')

  choosing(
    admin
      .command('weight')
      .description('give an instance a larger or smaller share')
      .argument('<weight>', '1 to 1,000', wholeNumber(1, 1_000))
      .argument('<service>')
      .argument('[instance]')
      .option('--all', 'all instances of the service'),
    kit,
  ).action(
    guarded(
      async (weight: number, service: string, instance: string | undefined, options: OrderOptions) =>
        (await import('./admin.js')).adminOrder(
          'set-weight',
          `has the weight ${weight}`,
          service,
          instance,
          { weight },
          options,
        ),
      ([, , , options]) => options.json === true,
    ),
  )
  choosing(
    admin
      .command('policy')
      .description('change fields of a policy, the others stay')
      .argument('<service>')
      .argument('<field=value...>', 'like balancer=adaptive breaker.openMs=500'),
    kit,
  ).action(
    guarded(
      async (service: string, fields: string[], options: MeshChoice) =>
        (await import('./admin.js')).adminPolicy(service, fields, options),
      ([, , options]) => options.json === true,
    ),
  )
  choosing(admin.command('dump').description('everything there is to know at this moment, as JSON'), kit).action(
    guarded(
      async (options: MeshChoice) => (await import('./admin.js')).adminDump(options),
      ([options]) => options.json === true,
    ),
  )
  choosing(
    admin
      .command('metrics')
      .description('all series')
      .addOption(new Option('--format <name>', 'how they are written').choices(FORMATS).default('prometheus')),
    kit,
  ).action(
    guarded(
      async (options: MeshChoice & { format: (typeof FORMATS)[number] }) =>
        (await import('./admin.js')).adminMetrics(options),
      ([options]) => options.json === true,
    ),
  )
  choosing(
    admin
      .command('events')
      .description('what happens from now on')
      .option('--count <n>', 'end after so many', wholeNumber(1, 1e9)),
    kit,
  ).action(
    guarded(
      async (options: MeshChoice & { count?: number }) => (await import('./admin.js')).adminEvents(options),
      ([options]) => options.json === true,
    ),
  )
}
