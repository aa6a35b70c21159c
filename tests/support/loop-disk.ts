/** A small disk of its own for a test: an ext4 image on a loop device. Needs root and loop devices. */
import { execFileSync, spawnSync } from 'node:child_process'
import { closeSync, ftruncateSync, mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'

export interface LoopDisk {
  readonly directory: string
  /** As after an I/O error: the kernel lets nobody write any more, whatever is open. */
  turnReadOnly(): void
  /** Checked and mounted again. Nothing may be open. */
  repair(): void
  /** The disk as it would be had the power gone now: what was not synced is not in it. */
  powerCut(): LoopDisk
  remove(): void
}

/** Why there is none here; undefined where there is. */
export const noLoopDisk: string | undefined = reasonWithout()

export interface LoopDiskOptions {
  readonly mib: number
  readonly inodes?: number
}

export function createLoopDisk({ mib, inodes }: LoopDiskOptions): LoopDisk {
  const root = mkdtempSync(path.join(tmpdir(), 'agnes-disk-'))
  const image = path.join(root, 'disk.img')
  const file = openSync(image, 'w')
  ftruncateSync(file, mib * 1024 ** 2)
  closeSync(file)
  // Nothing is kept for root, which these tests run as.
  const inodeArguments = inodes === undefined ? [] : ['-N', String(inodes)]
  run('mkfs.ext4', '-q', '-m', '0', ...inodeArguments, image)
  return mount(root, image)
}

function mount(root: string, image: string): LoopDisk {
  const directory = path.join(root, 'mounted')
  mkdirSync(directory)
  const mountIt = (): void => run('mount', '-o', 'loop,errors=remount-ro', image, directory)
  mountIt()
  return {
    directory,
    turnReadOnly() {
      const device = execFileSync('findmnt', ['-no', 'SOURCE', directory], { encoding: 'utf8' }).trim()
      writeFileSync(`/sys/fs/ext4/${path.basename(device)}/trigger_fs_error`, '1')
    },
    repair() {
      run('umount', directory)
      // 1: errors were found and corrected.
      spawnSync('e2fsck', ['-fy', image], { stdio: 'ignore' })
      mountIt()
    },
    powerCut() {
      const copyRoot = mkdtempSync(path.join(tmpdir(), 'agnes-disk-'))
      const copy = path.join(copyRoot, 'disk.img')
      run('cp', '--sparse=always', image, copy)
      return mount(copyRoot, copy)
    },
    remove() {
      run('umount', directory)
      rmSync(root, { recursive: true })
    },
  }
}

function run(command: string, ...args: readonly string[]): void {
  execFileSync(command, args, { stdio: ['ignore', 'ignore', 'pipe'] })
}

function reasonWithout(): string | undefined {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'loop devices need root on Linux'
  try {
    createLoopDisk({ mib: 2 }).remove()
    return undefined
  } catch (error) {
    return `there are no loop devices here (${(error as Error).message.split('\n', 1)[0]})`
  }
}
