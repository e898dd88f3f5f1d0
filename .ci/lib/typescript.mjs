/** Steps: `dist/esm` and `dist/cjs` from `ts/`, their declarations, and the JSON Schema of the configuration. */
import { chmodSync, cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { cache, root, run } from './process.mjs'
import { filesIn, hashOf, unlessBuilt } from './stamp.mjs'
import { StepError } from './steps.mjs'

const dist = join(root, 'dist')
const sources = () => filesIn('ts')
const inputs = () => [
  'package.json',
  'package-lock.json',
  '.ci/lib/typescript.mjs',
  '.ci/tsconfig.build.json',
  ...sources(),
]

/** @type {import('./steps.mjs').Step} */
export const javascript = {
  name: 'building dist (ESM and CJS)',
  run: () => unlessBuilt('javascript', hashOf(inputs()), ['dist/esm', 'dist/cjs'], transpileAll),
}

/** @type {import('./steps.mjs').Step} */
export const declarations = {
  name: 'building declarations',
  run: () =>
    unlessBuilt(
      'declarations',
      hashOf(inputs(), ['types']),
      ['dist/esm/index.d.ts', 'dist/cjs/index.d.ts'],
      declareAll,
    ),
}

async function transpileAll() {
  const esbuild = await import('esbuild')
  for (const format of ['esm', 'cjs']) rmSync(join(dist, format), { recursive: true, force: true })
  for (const source of sources()) {
    if (!source.endsWith('.ts')) {
      // Whatever is not code (a page, a schema) is read at run time from beside the code.
      for (const format of ['esm', 'cjs'])
        write(`${format}/${source.slice('ts/'.length)}`, readFileSync(join(root, source)))
      continue
    }
    if (source.endsWith('.d.ts')) continue
    const text = readFileSync(join(root, source), 'utf8')
    const path = source.slice('ts/'.length).replace(/\.ts$/, '.js')
    write(`esm/${path}`, await transpile(esbuild, source, text, 'esm'))
    // The command line is started, never required.
    if (!path.startsWith('cli/')) write(`cjs/${path}`, await transpile(esbuild, source, text, 'cjs'))
  }
  await bundleWorkers(esbuild)
  write('cjs/package.json', '{ "type": "commonjs" }\n')
  const bin = join(dist, 'esm/cli/main.js')
  if (existsSync(bin)) chmodSync(bin, 0o755)
  await writeSchema()
}

/** A worker thread reads its code anew: one file instead of a hundred halves what its start costs. */
async function bundleWorkers(esbuild) {
  const workers = ['esm/cli/up/instance-worker.js', 'esm/cli/load/worker.js'].map((path) => join(dist, path))
  await esbuild.build({
    entryPoints: workers.filter((path) => existsSync(path)),
    outdir: join(dist, 'esm/cli'),
    outbase: join(dist, 'esm/cli'),
    allowOverwrite: true,
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    packages: 'external',
    logLevel: 'error',
  })
}

async function transpile(esbuild, source, text, format) {
  const moduleUrl = format === 'cjs' && text.includes('import.meta.url')
  try {
    const { code } = await esbuild.transform(text, {
      loader: 'ts',
      format,
      target: 'node20',
      platform: 'node',
      sourcefile: source,
      tsconfigRaw: { compilerOptions: { verbatimModuleSyntax: true, target: 'es2022', useDefineForClassFields: true } },
      ...(moduleUrl && {
        define: { 'import.meta.url': '__moduleUrl' },
        banner: "const __moduleUrl = require('node:url').pathToFileURL(__filename).href;",
      }),
    })
    return code
  } catch (error) {
    throw new StepError(`${source} does not compile`, error.message)
  }
}

/** `linkmesh/config.schema.json`, for editors: what `configJsonSchema()` of the built package returns. */
async function writeSchema() {
  const module = join(dist, 'esm/config.js')
  if (!existsSync(module)) return
  const { configJsonSchema } = await import(pathToFileURL(module).href)
  if (configJsonSchema) write('config.schema.json', `${JSON.stringify(configJsonSchema(), null, 2)}\n`)
}

async function declareAll() {
  const out = join(cache, 'declarations')
  rmSync(out, { recursive: true, force: true })
  const tsc = join(root, 'node_modules/typescript/bin/tsc')
  const { code, output } = await run(process.execPath, [tsc, '-p', '.ci/tsconfig.build.json', '--outDir', out])
  if (code !== 0) throw new StepError('the types do not check', output)
  for (const format of ['esm', 'cjs']) {
    cpSync(out, join(dist, format), {
      recursive: true,
      filter: (path) => format === 'esm' || !path.startsWith(join(out, 'cli')),
    })
  }
}

function write(path, content) {
  mkdirSync(dirname(join(dist, path)), { recursive: true })
  writeFileSync(join(dist, path), content)
}
