/** The bot's token: from the environment or a file. It stands in the URL of every call, so nothing of a call is logged as it is. */
import { readFileSync, statSync } from 'node:fs'
import { exitCodes, type TelegramConfig, UserError, variables } from '@agnes/config'

/** undefined: there is no bot. @throws UserError if the file cannot be used; its content is never in the message */
export function readToken({ token, tokenFile }: Pick<TelegramConfig, 'token' | 'tokenFile'>): string | undefined {
  if (tokenFile === undefined) return token
  const text = read(tokenFile).trim()
  if (variables.TELEGRAM_BOT_TOKEN.schema.safeParse(text).success) return text
  throw badFile(`${tokenFile} does not hold the token of a bot`, 'write into it what @BotFather gave, and nothing else')
}

function read(file: string): string {
  try {
    if ((statSync(file).mode & 0o007) !== 0) throw badFile(`everyone may read ${file}`, `chmod 600 ${file}`)
    return readFileSync(file, 'utf8')
  } catch (error) {
    if (error instanceof UserError) throw error
    throw badFile(
      `cannot read ${file}: ${(error as Error).message}`,
      'set AGNES_TELEGRAM_TOKEN_FILE to a file we may read',
    )
  }
}

function badFile(message: string, hint: string): UserError {
  return new UserError(`AGNES_TELEGRAM_TOKEN_FILE: ${message}`, { code: 'bad_config', exitCode: exitCodes.usage, hint })
}
