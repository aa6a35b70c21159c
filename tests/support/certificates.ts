/** Certificates for tests: of the gateway (before and after a renewal), and of a client with its authority. */
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'

const directory = path.join(import.meta.dirname, 'certificates')

type ServerCertificate = 'server' | 'renewed'

/** What a client needs: the PEM of a certificate or a key. */
export function pem(file: `${ServerCertificate | 'client'}.${'pem' | 'key'}`): Buffer {
  return readFileSync(path.join(directory, file))
}

export interface CertificateFiles {
  readonly certFile: string
  readonly keyFile: string
  /** Of who signs client certificates. */
  readonly clientCaFile: string
  /** Puts another certificate and its key in the place of these. */
  replace(name: ServerCertificate): void
}

/** Files of a gateway in a directory of the test's own; the key is for its owner only, as Git does not keep it. */
export function writeCertificateFiles(into: string): CertificateFiles {
  const certFile = path.join(into, 'cert.pem')
  const keyFile = path.join(into, 'key.pem')
  const clientCaFile = path.join(into, 'client-ca.pem')
  const replace = (name: ServerCertificate): void => {
    copyFileSync(path.join(directory, `${name}.pem`), certFile)
    writeFileSync(keyFile, readFileSync(path.join(directory, `${name}.key`)), { mode: 0o600 })
  }
  replace('server')
  copyFileSync(path.join(directory, 'client-ca.pem'), clientCaFile)
  return { certFile, keyFile, clientCaFile, replace }
}
