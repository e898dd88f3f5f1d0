/** `npm run build`: packages, addon, dist with declarations. */
import { addon } from './lib/addon.mjs'
import { install } from './lib/install.mjs'
import { main, runSteps } from './lib/steps.mjs'
import { declarations, javascript } from './lib/typescript.mjs'

await main(() => runSteps([install, addon, javascript, declarations]))
