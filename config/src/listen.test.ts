import { createServer, type Server } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { bindPort } from './listen.ts'

const servers: Server[] = []
function server(): Server {
  const made = createServer()
  servers.push(made)
  return made
}
afterEach(() => {
  for (const one of servers.splice(0)) one.close()
})

const variable = 'AGNES_OTLP_PORT'

test('port 0 picks a free one', async () => {
  expect(await bindPort(server(), '127.0.0.1', 0, variable)).toBeGreaterThan(0)
})

test('a taken port is named with its holder, and the variable to change', async () => {
  const port = await bindPort(server(), '127.0.0.1', 0, variable)
  const holder = process.platform === 'linux' ? ` by pid ${process.pid} ` : ''
  await expect(bindPort(server(), '127.0.0.1', port, variable)).rejects.toMatchObject({
    code: 'port_taken',
    message: expect.stringContaining(`port ${port} on 127.0.0.1 is taken${holder}`),
    hint: expect.stringContaining(`set ${variable} (0 picks a free port)`),
  })
})

test('an address this machine does not have is named', async () => {
  await expect(bindPort(server(), '192.0.2.1', 0, variable)).rejects.toMatchObject({
    code: 'no_address',
    message: 'this machine has no address 192.0.2.1',
  })
})
