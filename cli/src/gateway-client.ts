/**
 * Speaking to the gateway of this configuration. With TLS the commands trust the certificate file the gateway itself
 * serves with, whatever name or authority stands in it: both are of this machine. The file is read for each connection,
 * because it is renewed while `agnes up` runs.
 */
import { readFileSync } from 'node:fs'
import { get as getHttp, type Agent as HttpAgent } from 'node:http'
import { Agent, get as getHttps } from 'node:https'
import type { Duplex } from 'node:stream'
import { text } from 'node:stream/consumers'
import type { Config } from '@agnes/config'
import { gatewayHeaders } from './admin-key.ts'

const answerWithinMs = 5_000

type GatewayConfig = Pick<Config, 'tls' | 'host' | 'dataDir'> & Partial<Pick<Config, 'gatewayUrl' | 'gatewayKey'>>

/** For connections to our own gateway; undefined without TLS, and for one elsewhere, whose authority Node.js must know. */
export function gatewayAgent({
  tls,
  gatewayUrl,
}: Pick<Config, 'tls'> & Partial<Pick<Config, 'gatewayUrl'>>): HttpAgent | undefined {
  return gatewayUrl === undefined && tls !== undefined ? new OwnCertificateAgent(tls.certFile) : undefined
}

/** What every sender of events to the gateway is started with. */
export function toGateway(config: GatewayConfig): {
  readonly headers: Record<string, string>
  readonly agent?: HttpAgent
} {
  const agent = gatewayAgent(config)
  return { headers: gatewayHeaders(config), ...(agent && { agent }) }
}

/** A JSON page of the gateway. @throws if it does not answer */
export async function askGateway<T>(url: string, config: GatewayConfig): Promise<T> {
  const agent = gatewayAgent(config)
  try {
    const body = await new Promise<string>((resolve, reject) => {
      const get = url.startsWith('https:') ? getHttps : getHttp
      get(
        url,
        { ...(agent && { agent }), headers: gatewayHeaders(config), signal: AbortSignal.timeout(answerWithinMs) },
        (answer) => {
          text(answer).then(resolve, reject)
        },
      ).on('error', reject)
    })
    return JSON.parse(body) as T
  } finally {
    agent?.destroy()
  }
}

class OwnCertificateAgent extends Agent {
  private readonly certFile: string

  constructor(certFile: string) {
    super({ keepAlive: true })
    this.certFile = certFile
  }

  override createConnection(...[options, callback]: Parameters<Agent['createConnection']>): Duplex | null | undefined {
    return super.createConnection(
      {
        ...options,
        ca: readFileSync(this.certFile),
        // The anchor is the certificate itself, not who signed it; and it need not name the loopback address.
        allowPartialTrustChain: true,
        checkServerIdentity: () => undefined,
        ...clientCertificate(process.env),
      },
      callback,
    )
  }
}

/** For a gateway that asks for one: what OpenTelemetry SDKs are configured with too. */
function clientCertificate(env: NodeJS.ProcessEnv): { cert?: Buffer; key?: Buffer } {
  const { OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE: certFile, OTEL_EXPORTER_OTLP_CLIENT_KEY: keyFile } = env
  return certFile && keyFile ? { cert: readFileSync(certFile), key: readFileSync(keyFile) } : {}
}
