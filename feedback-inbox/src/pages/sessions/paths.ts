/** Where a session is shown. */
export interface SessionAt {
  readonly user: string
  readonly file: string
  readonly version: string
}

export function sessionPath({ user, file, version }: SessionAt): string {
  const path = `/admin/sessions/${encodeURIComponent(user)}/${encodeURIComponent(file)}`
  return version === 'main' ? path : `${path}?version=${encodeURIComponent(version)}`
}

/** Where one turn is shown in full. */
export function turnPath({ user, file, version }: SessionAt, turn: number): string {
  const path = `/admin/sessions/${encodeURIComponent(user)}/${encodeURIComponent(file)}/turns/${turn}`
  return version === 'main' ? path : `${path}?version=${encodeURIComponent(version)}`
}
