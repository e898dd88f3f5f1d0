/** Real inputs, which lie beside the repository; tests of them are skipped where they are absent. */
import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'

export const DATA_ABSENT = 'no real inputs: neither LINKMESH_DATA nor ../shared/data is there'

/** Path of a file of the data set, undefined when it is not there. */
export function dataFile(name: string): string | undefined {
  const path = join(process.env.LINKMESH_DATA ?? resolve(import.meta.dirname, '../../../shared/data'), name)
  return existsSync(path) ? path : undefined
}
