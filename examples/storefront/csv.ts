/** Reads the supplier's CSV (RFC 4180: quoted fields, doubled quotes) into products. */
import { makeCatalogueCsv, type Product } from './products.js'

/** Rows of a CSV text, header included. */
export function parseCsv(text: string): string[][] {
  const rows: string[][] = []
  let row: string[] = []
  let field = ''
  let quoted = false
  for (let at = 0; at < text.length; at++) {
    const letter = text[at] as string
    if (quoted) {
      if (letter !== '"') field += letter
      else if (text[at + 1] === '"') {
        field += '"'
        at++
      } else quoted = false
    } else if (letter === '"') quoted = true
    else if (letter === ',' || letter === '\n') {
      row.push(field)
      field = ''
      if (letter === '\n') {
        rows.push(row)
        row = []
      }
    } else field += letter
  }
  return rows
}

/** The catalogue as the services read it at their start. */
export function readCatalogue(): Product[] {
  const [, ...rows] = parseCsv(makeCatalogueCsv())
  return rows.map(([sku, name, category, price, stock, description]) => ({
    sku: sku as string,
    name: name as string,
    category: category as string,
    priceCents: Number(price),
    stock: Number(stock),
    description: description as string,
  }))
}
