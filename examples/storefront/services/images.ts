/** Product pictures: drawn from the product number and encoded as PNG (ISO/IEC 15948). */
import { deflateSync } from 'node:zlib'
import { defineService } from 'linkmesh/config'
import { refuse } from './failure.js'

const SIGNATURE = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])
const crcTable = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb8_8320 : crc >>> 1
  return crc
})

function crc32(bytes: Uint8Array): number {
  let crc = 0xffff_ffff
  for (const byte of bytes) crc = (crcTable[(crc ^ byte) & 0xff] as number) ^ (crc >>> 8)
  return ~crc >>> 0
}

function chunk(type: string, data: Buffer): Buffer {
  const bytes = Buffer.alloc(12 + data.length)
  bytes.writeUInt32BE(data.length, 0)
  bytes.write(type, 4, 'latin1')
  data.copy(bytes, 8)
  bytes.writeUInt32BE(crc32(bytes.subarray(4, 8 + data.length)), 8 + data.length)
  return bytes
}

/** Greyscale, 8 bits, no filter, not interlaced. */
function png(size: number, shade: (x: number, y: number) => number): Buffer {
  const header = Buffer.alloc(13)
  header.writeUInt32BE(size, 0)
  header.writeUInt32BE(size, 4)
  header[8] = 8
  const rows = Buffer.alloc(size * (size + 1))
  for (let y = 0; y < size; y++) for (let x = 0; x < size; x++) rows[y * (size + 1) + 1 + x] = shade(x, y)
  return Buffer.concat([
    SIGNATURE,
    chunk('IHDR', header),
    chunk('IDAT', deflateSync(rows)),
    chunk('IEND', Buffer.alloc(0)),
  ])
}

export default defineService(
  {
    render({ sku, size = '32' }: { sku: string; size?: string }) {
      const edge = Number(size)
      const number = Number(/^S-(\d{4})$/.exec(sku)?.[1])
      if (!Number.isInteger(edge) || edge < 8 || edge > 256) throw refuse(400, 'size is 8 to 256')
      if (Number.isNaN(number)) throw refuse(404, `There is no picture of ${sku}`)
      return png(edge, (x, y) => (x * y * number + x * 7 + y * 13) & 0xff)
    },
  },
  { idempotent: true },
)
