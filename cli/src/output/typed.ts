/** `agnes` as this user types it: through npx in a checkout, plainly where the command is installed. */
export const typed = process.env.npm_command === undefined ? 'agnes' : 'npx agnes'
