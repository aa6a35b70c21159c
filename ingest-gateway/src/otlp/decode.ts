/** Decoding by the wire format. */
import { RequestError, type Rows, type TranscodeLimits, type TranscodeOptions } from './rows.ts'
import { transcodeJson } from './transcode-json.ts'
import { transcodeProtobuf } from './transcode-protobuf.ts'

export type WireFormat = 'protobuf' | 'json'
export { RequestError, type Rows, type TranscodeLimits }

/**
 * @param receivedAtNs time of arrival, nanoseconds since 1970
 * @throws RequestError if the body can't be understood
 */
export function decode(body: Buffer, format: WireFormat, receivedAtNs: bigint, options: TranscodeOptions): Rows {
  return (format === 'protobuf' ? transcodeProtobuf : transcodeJson)(body, receivedAtNs, options)
}
