/** One export request over a kept connection, as SDKs send it. */
import { type Agent, request as httpRequest } from 'node:http'

/** @param headers beside length and content type, which is protobuf's unless told. @returns the answer's status */
export function post(url: string, agent: Agent, body: Buffer, headers: Record<string, string> = {}): Promise<number> {
  const all = { 'Content-Type': 'application/x-protobuf', 'Content-Length': body.length, ...headers }
  return new Promise((resolve, reject) => {
    const request = httpRequest(`${url}/v1/logs`, { method: 'POST', agent, headers: all }, (response) => {
      response.resume()
      response.on('end', () => resolve(response.statusCode ?? 0))
    })
    request.on('error', reject)
    request.end(body)
  })
}

/** Like {@link post}. @throws Error if the answer is not 200 */
export async function send(...request: Parameters<typeof post>): Promise<void> {
  const status = await post(...request)
  if (status !== 200) throw new Error(`the answer was ${status}`)
}
