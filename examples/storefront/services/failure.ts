/** A refusal that the gateway answers with its own status, since it is the caller's to correct. */
export function refuse(status: number, message: string): Error {
  return Object.assign(new Error(message), { status })
}
