import { afterEach } from 'vitest'
import { Mesh } from '../../ts/index.js'

const open: Mesh[] = []
let names = 0

/** A mesh of its own name, closed after the test. */
export async function opened(options: object = {}): Promise<Mesh> {
  const mesh = await Mesh.open({ name: `test-${++names}`, seed: 7, ...options })
  open.push(mesh)
  return mesh
}

afterEach(async () => {
  await Promise.all(open.splice(0).map((mesh) => mesh.close({ graceMs: 0 })))
})
