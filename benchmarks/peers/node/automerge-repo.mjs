// Automerge: sales as plain objects, which never change; stock as its Counters, in a first document that all lanes begin with, since Counters
// that two make for the same key would be two. Both lie in buckets of a hundred: a change copies the whole object that it is in.
// Each sale is one change. Over the network: the hub is a Repo with its websocket adapter and its storage of files, without an acknowledgement
// that a change is on the hub's disk; the lanes hold the document in memory. Where a lane is to hold no other lane's sales, they are in a document for each lane, and the stock in another: a sale is then a
// change of each, and the share policy of the hub names a lane its own. Text that is not edited letter by letter is an ImmutableString.

import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as A from '@automerge/automerge'
import { Repo, parseAutomergeUrl, stringifyAutomergeUrl } from '@automerge/automerge-repo'
import { WebSocketClientAdapter, WebSocketServerAdapter } from '@automerge/automerge-repo-network-websocket'
import { NodeFSStorageAdapter } from '@automerge/automerge-repo-storage-nodefs'
import { WebSocketServer } from 'ws'
import {
  HOST, LANES, ROOM, ROOMS, SALES_ROOMS, STOCK_ROOM, catalogue, fullStock, growth, hear, merge, play, restart, say, told,
} from './child.mjs'
import * as network from './network.mjs'

const bucketOf = product => String(Math.floor(product / 100))

// The same bytes in every process: its actor and its time are given.
const base = (parts = { sales: true, stock: true }) => {
  const document = {}
  if (parts.sales) document.sales = {}
  if (parts.stock) {
    document.stock = {}
    fullStock().forEach((left, product) => { (document.stock[bucketOf(product)] ??= {})[product] = new A.Counter(left) })
  }
  return A.save(A.change(A.init({ actor: '00' }), { time: 0 }, draft => Object.assign(draft, document)))
}

const take = (document, product, quantity) => document.stock[bucketOf(product)][product].decrement(quantity)

const record = (document, { key, ...sale }) => {
  const bucket = key.slice(0, -2)
  if (!(bucket in document.sales)) document.sales[bucket] = {}
  document.sales[bucket][key] = sale
}

const sell = (document, sale) => {
  record(document, sale)
  take(document, sale.product, sale.quantity)
}

// Of the documents with sales, and of the one with the stock, which may be the same.
const stateOf = (sold, taken) => {
  let sales = 0
  for (const document of sold) {
    for (const bucket of Object.values(document.sales)) for (const sale of Object.values(bucket)) if (sale.total > 0) sales++
  }
  return { sales, stock: fullStock().map((_, product) => taken.stock[bucketOf(product)][product].value) }
}

const snapshot = () => join(told.folder, 'document.bin')

// The documents that all know beforehand, by their rooms.
const KNOWN = [ROOM, 'stock', ...LANES.map(lane => `sales-${lane}`)]
const idOf = room => parseAutomergeUrl(stringifyAutomergeUrl({ documentId: new Uint8Array(16).fill(7 + KNOWN.indexOf(room)) })).documentId
const urlOf = room => stringifyAutomergeUrl({ documentId: idOf(room) })
const folder = () => join(told.folder, 'repo')
const storage = () => new NodeFSStorageAdapter(folder())

const watched = (repo, handles) => {
  const sold = SALES_ROOMS.map(room => handles[room])
  // Sales are only added; the keys of a bucket that has just come are counted with the bucket.
  let count = 0
  const listeners = []
  const added = ({ patches }) => {
    for (const { action, path } of patches) {
      if (action === 'put' && path.length === 3 && path[0] === 'sales') {
        count++
        for (const call of listeners) call(path[2])
      }
    }
  }
  for (const handle of sold) handle.on('change', added)
  return {
    repo,
    own: sold[0],
    stock: handles[STOCK_ROOM],
    count: () => count,
    // Only the whole stock tells.
    moved: () => true,
    seen: call => listeners.push(call),
    state: () => stateOf(sold.map(handle => handle.doc()), handles[STOCK_ROOM].doc()),
    watch: changed => { for (const handle of Object.values(handles)) handle.on('change', changed) },
  }
}

const openRepo = async (config = {}) => {
  const stored = existsSync(folder())
  const repo = new Repo({ network: [], peerId: told.lane ? `sales-${told.lane}` : 'hub', ...config })
  const handles = {}
  for (const room of ROOMS) {
    const parts = { sales: SALES_ROOMS.includes(room), stock: room === STOCK_ROOM }
    handles[room] = stored ? await repo.find(urlOf(room)) : repo.import(base(parts), { docId: idOf(room) })
  }
  return watched(repo, handles)
}

const connect = ({ repo }) => {
  repo.networkSubsystem.addNetworkAdapter(new WebSocketClientAdapter(`ws://${HOST}:${told.port}`))
  return repo.networkSubsystem.whenReady()
}

// What the hub tells a peer of, by itself.
const shared = async (peer, id) => id === idOf(STOCK_ROOM) || id === idOf(peer)

let store
const hub = {
  start: async () => {
    const server = new WebSocketServer({ port: told.port, host: HOST })
    const listening = new Promise(resolve => server.once('listening', resolve))
    store = await openRepo({
      network: [new WebSocketServerAdapter(server)], storage: storage(), sharePolicy: shared,
    })
    await listening
  },
  durable: async () => {
    await network.settled(store)
    await store.repo.flush()
  },
}

// What the files hold of every room.
const stored = async () => {
  const repo = new Repo({ network: [], storage: storage() })
  const docs = {}
  for (const room of ROOMS) docs[room] = (await repo.find(urlOf(room))).doc()
  return docs
}

const change = (open, sale) => {
  if (open.own === open.stock) open.own.change(document => sell(document, sale))
  else {
    open.own.change(document => record(document, sale))
    open.stock.change(document => take(document, sale.product, sale.quantity))
  }
}

const sizeOf = document => Object.values(document.products).reduce((sum, bucket) => sum + Object.keys(bucket).length, 0)
const productOf = (document, key) => document.products[key.slice(0, -2)][key]

const fill = async () => {
  const products = {}
  for (const { key, number, ...values } of catalogue()) {
    const named = Object.entries(values).map(([name, value]) => [name, typeof value === 'string' ? new A.ImmutableString(value) : value])
    ;(products[key.slice(0, -2)] ??= {})[key] = Object.fromEntries(named)
  }
  const repo = new Repo({ network: [], storage: storage() })
  repo.import(A.save(A.from({ products })), { docId: idOf(ROOM) })
  await repo.flush()
  say({ filled: true })
  await hear()
}

await play({
  merge: () => {
    const first = base()
    return merge((_lane, sales) => {
      let document = A.load(first)
      for (const sale of sales) document = A.change(document, draft => sell(draft, sale))
      return A.save(document)
    }, exports => {
      const merged = exports.slice(1).reduce((document, data) => A.loadIncremental(document, data), A.load(exports[0]))
      return stateOf([merged], merged)
    })
  },
  growth: () => {
    let document = A.load(base())
    return growth((product, quantity) => {
      document = A.change(document, draft => take(draft, product, quantity))
    }, () => {
      const data = A.save(document)
      writeFileSync(snapshot(), data)
      return data.length
    })
  },
  state: () => restart(async () => {
    if (existsSync(snapshot())) {
      const document = A.load(readFileSync(snapshot()))
      return stateOf([document], document)
    }
    const docs = await stored()
    return stateOf(SALES_ROOMS.map(room => docs[room]), docs[STOCK_ROOM])
  }),
  hub: () => network.hub(hub),
  lane: () => network.lane({ open: openRepo, sell: change, connect }),
  live: () => network.live({
    open: openRepo,
    connect,
    sold: (open, sale) => { change(open, sale); return new Promise(setImmediate) },
    seen: (open, call) => open.seen(call),
  }),
  fill,
  fresh: () => network.fresh({
    open: () => ({ repo: new Repo({ network: [], storage: storage() }) }),
    connect: async open => {
      await connect(open)
      open.handle = await open.repo.find(urlOf(ROOM))
    },
    watch: ({ handle }, changed) => handle.on('change', changed),
    count: ({ handle }) => sizeOf(handle.doc()),
    get: ({ handle }, key) => productOf(handle.doc(), key),
    keep: ({ repo }) => repo.flush(),
  }),
  products: () => restart(async () => {
    const document = (await stored())[ROOM]
    const stock = fullStock()
    for (const { key, number } of catalogue()) stock[number] = productOf(document, key).price
    return { sales: sizeOf(document), stock }
  }),
})
