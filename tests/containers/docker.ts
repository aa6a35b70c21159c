/** Containers through Docker's own command: all that these tests need of it is run, port, logs and rm. */
import { execFile, spawnSync } from 'node:child_process'
import { setTimeout as pause } from 'node:timers/promises'
import { promisify } from 'node:util'

const exec = promisify(execFile)

/** Why there is no Docker; undefined where it runs. */
export function noDocker(): string | undefined {
  const { error, status } = spawnSync('docker', ['version', '--format', '{{.Server.Version}}'], { timeout: 10_000 })
  if (error !== undefined) return 'Docker is not installed here'
  return status === 0 ? undefined : 'Docker does not run here'
}

export interface ContainerOptions {
  readonly image: string
  readonly env?: Readonly<Record<string, string>>
  /** `from:to`, read-only unless it says so. */
  readonly mounts?: readonly string[]
  /** Port in the container that is wanted outside, on loopback. */
  readonly port: number
  /** Answers 2xx when it serves. */
  readonly readyPath: string
  /** A network of its own with other containers, which find it there under this name. */
  readonly network: string
  readonly alias: string
}

export interface Container {
  readonly id: string
  /** Of the port, on loopback. */
  readonly url: string
  exec(...command: string[]): Promise<string>
  stop(): Promise<void>
}

/** @returns its name, and how to take it away */
export async function createNetwork(): Promise<{ readonly name: string; remove(): Promise<void> }> {
  const name = `agnes-test-${process.pid}`
  await exec('docker', ['network', 'create', name])
  return {
    name,
    async remove() {
      await exec('docker', ['network', 'rm', name]).catch(() => {})
    },
  }
}

/** Starts a container and resolves when it serves. */
export async function startContainer(options: ContainerOptions): Promise<Container> {
  const { image, env = {}, mounts = [], port, readyPath, network, alias } = options
  const { stdout } = await exec('docker', [
    'run',
    '--detach',
    '--rm',
    `--publish=127.0.0.1::${port}`,
    `--network=${network}`,
    `--network-alias=${alias}`,
    ...Object.entries(env).map(([name, value]) => `--env=${name}=${value}`),
    ...mounts.map((mount) => `--volume=${mount}`),
    image,
  ])
  const id = stdout.trim()
  const stop = async (): Promise<void> => {
    await exec('docker', ['rm', '--force', '--volumes', id]).catch(() => {})
  }
  try {
    const published = await exec('docker', ['port', id, `${port}/tcp`])
    const url = `http://${published.stdout.split('\n')[0]?.trim()}`
    await serves(`${url}${readyPath}`)
    return {
      id,
      url,
      exec: async (...command) => (await exec('docker', ['exec', id, ...command])).stdout,
      stop,
    }
  } catch (error) {
    const { stdout: out, stderr } = await exec('docker', ['logs', '--tail', '40', id]).catch(() => ({
      stdout: '',
      stderr: '',
    }))
    await stop()
    throw new Error(`${image} does not serve: ${(error as Error).message}\n${out}${stderr}`)
  }
}

async function serves(url: string): Promise<void> {
  for (const giveUpAt = performance.now() + 120_000; ; await pause(200)) {
    const answer = await fetch(url).catch(() => undefined)
    if (answer?.ok) return
    if (performance.now() > giveUpAt) throw new Error(`${url} does not answer within two minutes`)
  }
}
