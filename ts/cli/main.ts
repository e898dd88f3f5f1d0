#!/usr/bin/env node
/** The `linkmesh` command: which commands and options there are. What they do is in a file each. */
import { readFileSync } from 'node:fs'
import { Command, InvalidArgumentError, Option } from 'commander'
import { addAdminCommands, choosing } from './admin-commands.js'
import { EXIT, reportError } from './output.js'

const wholeNumber = (min: number, max: number) => (text: string) => {
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN
  if (!(value >= min && value <= max)) throw new InvalidArgumentError(`Give a whole number from ${min} to ${max}.`)
  return value
}
const positiveOrMax = (text: string) => {
  if (text === 'max') return 'max' as const
  const value = /^\d+(?:\.\d+)?$/.test(text) ? Number(text) : Number.NaN
  if (!(value > 0 && value <= 1e9)) throw new InvalidArgumentError('Give a positive number or `max`.')
  return value
}
const httpUrl = (text: string) => {
  if (!URL.canParse(text) || new URL(text).protocol !== 'http:')
    throw new InvalidArgumentError('Give an address like http://127.0.0.1:8080.')
  return text
}
const instant = (text: string) => {
  const value = Date.parse(text)
  if (Number.isNaN(value)) throw new InvalidArgumentError('Give a time like 2026-01-31T12:00:00Z.')
  return value
}
const ids = (text: string, before: number[] = []) => [...before, wholeNumber(1, Number.MAX_SAFE_INTEGER)(text)]
const quicAddress = (text: string) => {
  if (!/^(?:quic:\/\/)?(?:\[[0-9a-fA-F:.]+\]|[^\s:/]+):\d{1,5}$/.test(text))
    throw new InvalidArgumentError('Give host:port, like 10.0.0.7:7443 or quic://mesh.example:7443.')
  return text
}
const nodeAddress = (text: string) => {
  if (
    !/^(?:quic:\/\/(?:\[[0-9a-fA-F:.]+\]|[^\s:/]+):\d{1,5}|\[?[fF][dD][0-9a-fA-F]{2}:[0-9a-fA-F:.]*(?:\]:\d{1,5}|\])?)$/.test(
      text,
    )
  )
    throw new InvalidArgumentError('Give quic://host:port, or a global address like fd12:3456:789a:1:2:3::.')
  return text
}
const quicUrls = (text: string, before: string[] = []) => {
  if (!text.startsWith('quic://')) throw new InvalidArgumentError('Give quic://host:port.')
  return [...before, quicAddress(text)]
}
const via = () =>
  new Option('--via <address>', 'a node to ask, quic://host:port; may be given several times')
    .argParser(quicUrls)
    .default([])
const data = () =>
  new Option('--data <folder>', 'data folder; keys that are encrypted open with LINKMESH_PASSPHRASE').default(
    '.linkmesh',
  )
const json = () => new Option('--json', 'print JSON, one value a line')
const url = () =>
  new Option(
    '--url <address>',
    'gateway of a running `linkmesh up`; default: http://127.0.0.1:8080, else its local socket',
  ).argParser(httpUrl)

/** Runs a command; what it throws is printed as the command was asked to print. */
function guarded<Arguments extends unknown[]>(
  run: (...given: Arguments) => Promise<void>,
  isJson: (given: Arguments) => boolean,
) {
  return async (...given: Arguments): Promise<void> => {
    try {
      await run(...given)
    } catch (error) {
      reportError(error, isJson(given))
    }
  }
}

/** The whole command line. Commands load their code when they run: `--help` starts nothing. */
export function buildProgram(): Command {
  const { version } = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')) as {
    version: string
  }
  const program = new Command('linkmesh')
    .description('Route, balance and share memory between Node.js services, workers and agents.')
    .version(version)
    .showHelpAfterError('(linkmesh --help lists the commands)')
    .exitOverride((error) => process.exit(error.exitCode === 0 ? EXIT.ok : EXIT.usage))

  program
    .command('up')
    .description('start services, upstreams and the gateway of a config, and send load when it has a load profile')
    .argument('[config]', 'linkmesh.config.{ts,mjs,js,json}; default: the one in this folder')
    .option('--once', 'send the requests, print a summary and end; exit code 1 when one was lost or answered wrongly')
    .option('--requests <n>', 'requests to send; default with --once: the config, else 20,000, or the whole log', wholeNumber(1, 1e9))
    .option('--log <file>', 'replay an access log in the common or combined format, .gz allowed')
    .option('--speed <factor>', "factor on the log's own timing, or max = as fast as replies come; default max", positiveOrMax)
    .option('--rate <n>', 'requests a second of the seeded mix, or max; default: the config, else 1,000', positiveOrMax)
    .option('--seed <n>', 'repeats a run: the same requests in the same order', wholeNumber(0, 0xffff_ffff))
    .option('--port <n>', 'port of the gateway, 0 = any free one', wholeNumber(0, 65_535))
    .option('--data <folder>', 'keep dead letters and the audit trail in this folder')
    .option('--nodes <n>', 'spread the instances over so many processes of this machine, this one included', wholeNumber(1, 64))
    .option('--chaos', 'kill and slow instances during the run')
    .option('--no-load', 'send nothing, only serve')
    .addOption(json())
    .action(guarded(async (config: string | undefined, options: import('./up.js').UpOptions) => (await import('./up.js')).up(config, options), ([, options]) => options.json === true)) // biome-ignore format: one call

  choosing(
    program
      .command('reload')
      .description('a running `linkmesh up` reads its config again: checked, evaluated on the latest picks, applied, watched, taken back when worse')
      .option('--dry-run', 'only say what would change and where the latest picks would go'),
    { wholeNumber, json, guarded },
  ).action(guarded(async (options: import('./reload.js').ReloadOptions) => (await import('./reload.js')).reload(options), ([options]) => options.json === true)) // biome-ignore format: one call

  program
    .command('doctor')
    .description('which backend runs and why, CPU features, versions, and a self-test')
    .addOption(json())
    .action(guarded(async (options: { json?: boolean }) => (await import('./doctor.js')).doctor(options), ([options]) => options.json === true)) // biome-ignore format: one call

  const kit = { wholeNumber, json, guarded }
  choosing(program.command('services').description('services and instances of a running mesh'), kit)
    .addOption(url())
    .action(guarded(async (options: import('./running.js').RunningChoice) => (await import('./services.js')).services(options), ([options]) => options.json === true)) // biome-ignore format: one call

  choosing(program.command('explain').description('why the next picks of a service choose the instances they choose'), kit)
    .argument('<service>', 'service and handler, `orders.get`')
    .option('--picks <n>', 'how many picks; with --follow any number', wholeNumber(1, 1e9))
    .option('--follow', 'picks as they are made, by the local socket, until interrupted')
    .addOption(url())
    .action(guarded(async (service: string, options: import('./explain.js').ExplainOptions) => (await import('./explain.js')).explain(service, options), ([, options]) => options.json === true)) // biome-ignore format: one call

  addAdminCommands(program, kit)

  const dlq = program.command('dlq').description('dead letters: messages that were given up, and what becomes of them')
  filtered(dlq.command('list').description('letters that match, by id'))
    .action(guarded(async (options: import('./dlq.js').FilterOptions) => (await import('./dlq.js')).dlqList(options), ([options]) => options.json === true)) // biome-ignore format: one call
  dlq
    .command('show')
    .description('one letter with its message, attempts and history')
    .argument('<id>', 'as in the list', wholeNumber(1, Number.MAX_SAFE_INTEGER))
    .addOption(data())
    .addOption(json())
    .action(guarded(async (id: number, options: import('./dlq.js').LetterOptions) => (await import('./dlq.js')).dlqShow(id, options), ([, options]) => options.json === true)) // biome-ignore format: one call
  filtered(dlq.command('redrive').description('send letters again: in the running process that has the folder open, else to the services of a config'))
    .option('--config <file>', 'linkmesh.config.{ts,mjs,js,json}; default: the one in this folder')
    .option('--dry-run', 'only say how many would be sent')
    .option('--force', 'parked ones, too')
    .option('--per-second <n>', 'letters a second at most', wholeNumber(1, 100_000), 100)
    .action(guarded(async (options: import('./dlq.js').RedriveCommandOptions) => (await import('./dlq.js')).dlqRedrive(options), ([options]) => options.json === true)) // biome-ignore format: one call
  filtered(dlq.command('purge').description('give up letters for good'))
    .option('--dry-run', 'only say how many')
    .action(guarded(async (options: import('./dlq.js').FilterOptions & { dryRun?: boolean }) => (await import('./dlq.js')).dlqPurge(options), ([options]) => options.json === true)) // biome-ignore format: one call
  filtered(dlq.command('export').description('letters as JSON, one a line'))
    .option('--output <file>', 'default: standard output')
    .action(guarded(async (options: import('./dlq.js').FilterOptions & { output?: string }) => (await import('./dlq.js')).dlqExport(options), ([options]) => options.json === true)) // biome-ignore format: one call

  const audit = program.command('audit').description('the audit trail: who did what')
  audit
    .command('tail')
    .description('the newest entries')
    .option('--count <n>', 'how many', wholeNumber(1, 1_000), 20)
    .addOption(data())
    .addOption(json())
    .action(guarded(async (options: import('./audit.js').AuditOptions & { count: number }) => (await import('./audit.js')).auditTail(options), ([options]) => options.json === true)) // biome-ignore format: one call
  audit
    .command('verify')
    .description('check every record and the chain; exit code 1 when something was changed, cut or lost')
    .addOption(new Option('--room <name>', 'which journal').choices(['audit', 'dead-letters']).default('audit'))
    .option('--repair', 'first go on past what cannot be read, and say what that was')
    .addOption(data())
    .addOption(json())
    .action(guarded(async (options: import('./audit.js').AuditOptions & { room: 'audit' | 'dead-letters'; repair?: boolean }) => (await import('./audit.js')).auditVerify(options), ([options]) => options.json === true)) // biome-ignore format: one call
  audit
    .command('export')
    .description('all entries as JSON, one a line')
    .addOption(data())
    .addOption(json())
    .action(guarded(async (options: import('./audit.js').AuditOptions) => (await import('./audit.js')).auditExport(options), ([options]) => options.json === true)) // biome-ignore format: one call

  program
    .command('simulate')
    .description('run the production policies, and rivals, against a scenario or your own trace at virtual time')
    .argument('[scenario]', 'name of an included scenario, or a JSON file')
    .option('--all', 'every included scenario, a trace if there is one, and what they have to show')
    .option('--policy <names>', 'policies to compare, separated by commas; default: those of the scenario, else all')
    .option('--trace <file>', 'arrivals (with --all: of one more run): JSONL with `timestamp` or `timeMs` and `key` or `hash_ids`, or an access log; .gz allowed')
    .option('--seed <n>', 'of everything random; default: the scenario', wholeNumber(0, 0xffff_ffff))
    .option('--report <file>', 'also write a page with charts')
    .addOption(json())
    .action(guarded(async (scenario: string | undefined, options: import('./simulate.js').SimulateOptions) => (await import('./simulate.js')).simulate(scenario, options), ([, options]) => options.json === true)) // biome-ignore format: one call
  const ca = program
    .command('ca')
    .description(
      "authority of a network: keys, join tokens, revocation; works on the folder that holds the network's keys",
    )
  ca.command('init')
    .description('make a network and this node in it')
    .option('--network <name>', 'name of the network', 'linkmesh')
    .option('--name <name>', 'name of this node', 'node')
    .addOption(data())
    .addOption(json())
    .action(guarded(async (options: Parameters<typeof import('./ca.js').init>[0]) => (await import('./ca.js')).init(options), ([options]) => options.json === true)) // biome-ignore format: one call
  ca.command('issue')
    .description('issue a one-time token with which a node joins and gets its certificate')
    .argument('[name]', 'name of that node; default: the one it gives itself')
    .option('--ttl <seconds>', 'how long the token is good', wholeNumber(1, 604_800), 900)
    .addOption(data())
    .addOption(json())
    .action(guarded(async (name: string | undefined, options: Parameters<typeof import('./ca.js').issue>[1]) => (await import('./ca.js')).issue(name, options), ([, options]) => options.json === true)) // biome-ignore format: one call
  ca.command('revoke')
    .description('end a node: its connections, its grants, its certificates')
    .argument('<who>', 'id or name of a node; with --kind: serial of a certificate, key id of an issuer')
    .addOption(new Option('--kind <kind>', 'what <who> names').choices(['node', 'certificate', 'issuer']).default('node'))
    .addOption(data())
    .addOption(json())
    .action(guarded(async (who: string, options: Parameters<typeof import('./ca.js').revoke>[1]) => (await import('./ca.js')).revoke(who, options), ([, options]) => options.json === true)) // biome-ignore format: one call
  ca.command('rotate')
    .description('make a new network key, or a new root in three steps; nobody is cut off')
    .addOption(new Option('--root <step>', 'the next step of a new root').choices(['prepare', 'activate', 'retire']))
    .addOption(data())
    .addOption(json())
    .action(guarded(async (options: Parameters<typeof import('./ca.js').rotate>[0]) => (await import('./ca.js')).rotate(options), ([options]) => options.json === true)) // biome-ignore format: one call
  ca.command('show')
    .description('who this node is, its network, tokens, nodes and revocations')
    .addOption(data())
    .addOption(json())
    .action(guarded(async (options: Parameters<typeof import('./ca.js').show>[0]) => (await import('./ca.js')).show(options), ([options]) => options.json === true)) // biome-ignore format: one call

  program
    .command('join')
    .description('make this folder a node of a network')
    .argument('<address>', 'a node that holds the network\'s keys, host:port', quicAddress)
    .argument('<token>', 'one-time token of `linkmesh ca issue` or `mesh.invite()`')
    .option('--name <name>', 'name of this node, when the token gives none', 'node')
    .option('--timeout <ms>', 'how long to wait for an answer', wholeNumber(1, 300_000), 10_000)
    .addOption(data())
    .addOption(json())
    .action(guarded(async (address: string, token: string, options: Parameters<typeof import('./join.js').join>[2]) => (await import('./join.js')).join(address, token, options), ([, , options]) => options.json === true)) // biome-ignore format: one call
  program
    .command('resolve')
    .description('where the node of a global address is, as it says itself')
    .argument('<address>', 'as `mesh.address` gives it, fd…', nodeAddress)
    .option('--timeout <ms>', 'how long to wait for an answer', wholeNumber(1, 300_000), 5_000)
    .addOption(via())
    .addOption(data())
    .addOption(json())
    .action(guarded(async (address: string, options: import('./node.js').AddressOptions) => (await import('./resolve.js')).resolve(address, options), ([, options]) => options.json === true)) // biome-ignore format: one call
  program
    .command('ping')
    .description('round trips to the engine of a node: percentiles, loss, and the way they took')
    .argument('<address>', 'quic://host:port, or a global address', nodeAddress)
    .option('--count <n>', 'how many', wholeNumber(1, 1_000_000), 10)
    .option('--interval <ms>', 'time between two', wholeNumber(0, 60_000), 1_000)
    .option('--timeout <ms>', 'after how long one is lost', wholeNumber(1, 300_000), 5_000)
    .addOption(via())
    .addOption(data())
    .addOption(json())
    .action(guarded(async (address: string, options: import('./ping.js').PingCommandOptions) => (await import('./ping.js')).ping(address, options), ([, options]) => options.json === true)) // biome-ignore format: one call
  return program
}

/** The options that choose dead letters. */
function filtered(command: Command): Command {
  return command
    .addOption(
      new Option('--state <names...>', 'default: all but redriven').choices([
        'dead',
        'redriving',
        'redriven',
        'parked',
      ]),
    )
    .option('--service <name>', 'service it was for')
    .option('--reason <code>', "code of the last error, `LM_…` or the application's own")
    .option('--key <key>', 'routing key')
    .addOption(
      new Option('--outcome <name>', 'whether a handler had it').choices(['delivered', 'not-delivered', 'unknown']),
    )
    .option('--after <time>', 'given up at this time or later, ISO 8601', instant)
    .option('--before <time>', 'given up before this time, ISO 8601', instant)
    .option('--id <ids...>', 'these letters', ids)
    .option('--from <id>', 'only larger ids', wholeNumber(0, Number.MAX_SAFE_INTEGER))
    .option('--limit <n>', 'at most so many', wholeNumber(1, 1_000))
    .addOption(data())
    .addOption(json())
}

// Whoever reads the output may leave early (`| head`): then there is nobody left to write for.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
  process.exit(EXIT.failed)
})
await buildProgram().parseAsync()
