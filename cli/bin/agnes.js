#!/usr/bin/env node
// A file of its own, because npm links commands when it installs, and `dist` is built later.
try {
  await import('../dist/main.js')
} catch (error) {
  if (error.code !== 'ERR_MODULE_NOT_FOUND' || !error.message.includes('dist/main.js')) throw error
  process.stderr.write('agnes: not built yet\n  hint: run "npm run build" first\n')
  process.exitCode = 1
}
