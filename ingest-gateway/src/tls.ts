/**
 * Certificate and key of the listeners. Their files are read again while the gateway runs: certificates are renewed every
 * few weeks, and nobody should have to restart a service for it.
 */
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import { createSecureContext } from 'node:tls'
import { exitCodes, type Log, type TlsFiles, UserError } from '@agnes/config'

/** What a TLS server is created with, and later handed in `setSecureContext`. */
export interface TlsContext {
  readonly cert: Buffer
  readonly key: Buffer
  /** With these, clients must show a certificate they signed. */
  readonly ca?: Buffer
  readonly minVersion: 'TLSv1.2'
}

export interface Tls {
  readonly context: TlsContext
  /** Called with each later context; one that cannot be used never gets here. */
  onChange(listener: (context: TlsContext) => void): void
  stop(): void
}

export interface TlsOptions {
  readonly files: TlsFiles
  readonly log: Log
  /** Milliseconds between two looks at the files. */
  readonly everyMs?: number | undefined
}

/**
 * Reads the files and watches them. They are compared, not watched by the kernel: what renews certificates replaces
 * files, directories or links to directories.
 * @throws UserError that names the variable, the file and what is wrong with it
 */
export function openTls({ files, log, everyMs = 10_000 }: TlsOptions): Tls {
  const listeners: ((context: TlsContext) => void)[] = []
  let context = load(files)
  let lastProblem = ''
  warnOfEnd(context, files, log)

  function look(): void {
    try {
      const now = load(files)
      lastProblem = ''
      if (sameFiles(now, context)) return
      context = now
      for (const listener of listeners) listener(now)
      log(`tls: new certificate from ${files.certFile}, valid until ${endOf(now).toISOString()}`)
    } catch (error) {
      // A renewal in progress, mostly: the certificate is new and the key is still the old one.
      const problem = (error as Error).message
      if (problem !== lastProblem) log(`tls: ${problem}; going on with the certificate from before`, 'warn')
      lastProblem = problem
    }
  }
  const timer = setInterval(look, everyMs).unref()

  return {
    context,
    onChange: (listener) => void listeners.push(listener),
    stop: () => clearInterval(timer),
  }
}

function load({ certFile, keyFile, clientCaFile }: TlsFiles): TlsContext {
  const cert = read('AGNES_TLS_CERT_FILE', certFile)
  const certificate = certificateOf('AGNES_TLS_CERT_FILE', certFile, cert)
  const key = read('AGNES_TLS_KEY_FILE', keyFile)
  refuseOpenKey(keyFile)
  if (!certificate.checkPrivateKey(privateKeyOf(keyFile, key))) {
    throw problem('AGNES_TLS_KEY_FILE', `${keyFile} is not the key of the certificate in ${certFile}`, {
      hint: 'give the two files that were made together; in the certificate file the own certificate comes first',
    })
  }
  const ca = clientCaFile === undefined ? undefined : read('AGNES_TLS_CLIENT_CA_FILE', clientCaFile)
  if (ca !== undefined) certificateOf('AGNES_TLS_CLIENT_CA_FILE', clientCaFile as string, ca)
  const context: TlsContext = { cert, key, minVersion: 'TLSv1.2', ...(ca === undefined ? {} : { ca }) }
  try {
    createSecureContext(context)
  } catch (cause) {
    // "ee key too small", "ca md too weak": what OpenSSL's security level forbids.
    throw problem('AGNES_TLS_CERT_FILE', `${certFile} cannot be used: ${(cause as Error).message}`, { cause })
  }
  return context
}

function read(variable: string, file: string): Buffer {
  try {
    return readFileSync(file)
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException
    const why = { ENOENT: 'there is no such file', EACCES: 'this user may not', EISDIR: 'it is a directory' }[
      code ?? ''
    ]
    throw problem(variable, `cannot read ${file}: ${why ?? message}`, { cause })
  }
}

function certificateOf(variable: string, file: string, pem: Buffer): X509Certificate {
  try {
    return new X509Certificate(pem)
  } catch (cause) {
    throw problem(variable, `${file} does not begin with a certificate in PEM form`, {
      hint: 'it should hold "-----BEGIN CERTIFICATE-----"',
      cause,
    })
  }
}

function privateKeyOf(file: string, pem: Buffer): KeyObject {
  try {
    return createPrivateKey(pem)
  } catch (cause) {
    if (pem.includes('ENCRYPTED')) {
      throw problem('AGNES_TLS_KEY_FILE', `the key in ${file} needs a passphrase`, {
        hint: `write it without one: openssl pkey -in ${file} -out <new file>`,
        cause,
      })
    }
    throw problem('AGNES_TLS_KEY_FILE', `${file} holds no private key in PEM form`, {
      hint: 'it should hold "-----BEGIN PRIVATE KEY-----"',
      cause,
    })
  }
}

/** The owner's group may read it: that is how services share a key. */
function refuseOpenKey(file: string): void {
  const mode = statSync(file).mode & 0o777
  if ((mode & 0o007) === 0) return
  throw problem('AGNES_TLS_KEY_FILE', `everyone on this machine may use ${file} (mode ${mode.toString(8)})`, {
    hint: `chmod 600 ${file}`,
  })
}

function problem(variable: string, what: string, { hint, cause }: { hint?: string; cause?: unknown }): UserError {
  return new UserError(`${variable}: ${what}`, {
    code: 'bad_tls',
    exitCode: exitCodes.usage,
    hint: hint ?? 'mend the file, or unset the AGNES_TLS_ variables to go on without TLS',
    cause,
  })
}

function warnOfEnd(context: TlsContext, { certFile }: TlsFiles, log: Log): void {
  const end = endOf(context)
  if (end.getTime() < Date.now()) {
    log(
      `tls: the certificate in ${certFile} ended at ${end.toISOString()}: clients will refuse it until it is renewed`,
      'error',
    )
  }
}

function endOf({ cert }: TlsContext): Date {
  return new Date(new X509Certificate(cert).validTo)
}

function sameFiles(one: TlsContext, other: TlsContext): boolean {
  const same = (a: Buffer | undefined, b: Buffer | undefined): boolean => Buffer.compare(a ?? none, b ?? none) === 0
  return same(one.cert, other.cert) && same(one.key, other.key) && same(one.ca, other.ca)
}

const none = Buffer.alloc(0)
