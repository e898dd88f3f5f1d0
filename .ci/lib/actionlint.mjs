/** Step: `.github/workflows` by actionlint, which Go builds into `.cache/bin`. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { cache, run, version } from './process.mjs'
import { StepError } from './steps.mjs'

const ACTIONLINT = 'github.com/rhysd/actionlint/cmd/actionlint@v1.7.9'

/** @type {import('./steps.mjs').Step} */
export const workflows = {
  name: 'workflows',
  async run() {
    const folder = join(cache, 'bin')
    const program = join(folder, process.platform === 'win32' ? 'actionlint.exe' : 'actionlint')
    if (!existsSync(program)) {
      if (version('go', ['version']) === undefined)
        return 'skipped: actionlint is built with Go, https://go.dev, which is not here'
      const { code, output } = await run('go', ['install', ACTIONLINT], { env: { GOBIN: folder } })
      if (code !== 0) throw new StepError('actionlint did not build', output)
    }
    const { code, output } = await run(program, [])
    if (code !== 0) throw new StepError('actionlint found mistakes in .github/workflows', output)
  },
}
