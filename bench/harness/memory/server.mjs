/** The other process of a contender: serves, says where, and tells how much processor time it has used when asked. */
import { serve } from './servers.mjs'

const address = await serve[process.argv[2]](JSON.parse(process.argv[3] ?? '{}'))

process.on('message', async (message) => {
  if (message === 'cpu') {
    const { user, system } = process.cpuUsage()
    process.send({ cpu: user + system })
  } else process.send({ answer: await address.ask(message) })
})
process.on('disconnect', () => process.exit())
process.send({ address: address.address })
