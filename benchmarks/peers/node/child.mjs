// One process of a system with Node: what it is told, what it says, the workload that it reads, and what it must read back.
// It is the counterpart of child.py and layout.py, and keeps to the same lines.

import { createHash } from 'node:crypto'
import { subscribe } from 'node:diagnostics_channel'
import { readFileSync, statSync, readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'

export const LANES = [1, 2, 3, 4, 5]
export const HOST = '127.0.0.1'
export const ROOM = 'store'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: Object.fromEntries(['size', 'folder', 'port', 'lane', 'expected', 'sales', 'scope', 'every'].map(name => [name, { type: 'string' }])),
})
export const told = {
  role: positionals[0],
  size: Number(values.size),
  folder: values.folder,
  port: Number(values.port),
  lane: Number(values.lane),
  expected: values.expected,
  sales: Number(values.sales),
  every: Number(values.every),
}
// The names of the documents with the sales that this process holds, and of the one with the stock: in the retail scope a lane holds no other's.
const retail = values.scope === 'retail'
export const SALES_ROOMS = retail ? (told.lane ? [told.lane] : LANES).map(lane => `sales-${lane}`) : [ROOM]
export const STOCK_ROOM = retail ? 'stock' : ROOM
export const ROOMS = [...new Set([...SALES_ROOMS, STOCK_ROOM])]
// Beside the folders of the hub and of the lanes.
const workload = dirname(told.folder)
const { products, opening } = JSON.parse(readFileSync(join(workload, 'workload.json')))

// Standard output is for what is said here; what a system tells people goes to standard error.
for (const level of ['log', 'info', 'debug']) console[level] = console.error

export const say = message => process.stdout.write(JSON.stringify(message) + '\n')

const words = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
export const hear = async () => (await words.next()).value

// Nanoseconds of the monotonic clock that all processes of a machine share.
export const now = () => Number(process.hrtime.bigint())

const lines = name => readFileSync(join(workload, name), 'utf8').trimEnd().split('\n').map(line => JSON.parse(line))
export const laneSales = lane => lines(`lane${lane}.ndjson`)
export const catalogue = () => lines('products.ndjson')
// Pairs of product and quantity, 32 bits each, so that a million of them take no memory to speak of.
export const updates = () => {
  const bytes = readFileSync(join(workload, 'updates.bin'))
  return new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4)
}

// A final state is the number of sales and the stock of every product, in the order of their numbers.
export const digest = ({ sales, stock }) => createHash('sha256')
  .update(`${sales};` + Array.from(stock, (left, product) => `${product}:${left}`).join(',')).digest('hex')

export const fullStock = () => new Array(products).fill(opening)
export const isExpected = state => digest(state) === told.expected
export const sayState = (state, more) => say({ sales: state.sales, digest: digest(state), ...more })

// The connections that this process opened: bytes of both directions, framing included.
const sockets = []
subscribe('net.client.socket', ({ socket }) => sockets.push(socket))
export const wireBytes = () => sockets.reduce((sum, socket) => sum + socket.bytesRead + socket.bytesWritten, 0)

export const diskBytes = folder => readdirSync(folder, { recursive: true, withFileTypes: true })
  .filter(entry => entry.isFile()).reduce((sum, entry) => sum + statSync(join(entry.parentPath ?? entry.path, entry.name)).size, 0)

// The process of the cell `merge`: `sold(lane, sales)` returns what a lane exports, `merged(exports)` the state.
export const merge = async (sold, merged, bytes = exported => exported.length) => {
  const exports = []
  for (const lane of LANES) exports.push(await sold(lane, laneSales(lane)))
  globalThis.gc?.()
  const begun = now()
  const state = await merged(exports)
  const seconds = (now() - begun) / 1e9
  sayState(state, { seconds, update_bytes: exports.reduce((sum, exported) => sum + bytes(exported), 0) })
  await hear()
}

// The writing process of the cell `growth`; `store()` puts the document on the disk and returns its bytes.
export const growth = async (take, store) => {
  const pairs = updates()
  const tenths = [Math.floor(told.size / 10), told.size - Math.floor(told.size / 10)]
  const at = [0, 0]
  const begun = now()
  for (let number = 0; number < told.size; number++) {
    if (number === tenths[0]) at[0] = now()
    if (number === tenths[1]) at[1] = now()
    const waiting = take(pairs[2 * number], pairs[2 * number + 1])
    if (waiting) await waiting
  }
  const ended = now()
  const document_bytes = await store()
  say({
    seconds: (ended - begun) / 1e9,
    first_tenth_seconds: (at[0] - begun) / 1e9,
    last_tenth_seconds: (ended - at[1]) / 1e9,
    document_bytes,
  })
  await hear()
}

// A process that starts from the files; `load()` returns the state that it reads.
export const restart = async load => {
  const begun = now()
  const state = await load()
  sayState(state, { restart_ms: (now() - begun) / 1e6 })
  await hear()
}

export const play = async roles => { await roles[told.role](); process.exit(0) }
