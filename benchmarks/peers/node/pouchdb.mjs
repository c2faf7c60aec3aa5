// PouchDB: a sale is a document that names the product and the quantity, and the stock is the sum of the sales, as CouchDB's guide to accounting
// by a ledger advises: a document with a running number would be a conflict. Databases are LevelDB, PouchDB's own choice in Node.
// Where a lane is to hold no other lane's sales, each lane has a database, as CouchDB's guide advises where a user may see only his own, and one
// that all share has a movement for each sale.

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import express from 'express'
import expressPouchDB from 'express-pouchdb'
import PouchDB from 'pouchdb'
import {
  HOST, LANES, ROOM, ROOMS, SALES_ROOMS, STOCK_ROOM, catalogue, diskBytes, fullStock, growth, hear, merge, play, restart, say, told,
} from './child.mjs'
import * as network from './network.mjs'

const database = name => new PouchDB(join(told.folder, name), { auto_compaction: true, revs_limit: 1 })
const BATCH = { batch_size: 1000, batches_limit: 10 }

const docsOf = async database => (await database.allDocs({ include_docs: true })).rows.map(({ doc }) => doc)

// Of the databases with sales, and the one with what is taken from the stock, which may be the same.
const stateOf = async (sold, taken) => {
  const stock = fullStock()
  let sales = 0
  for (const database of sold) {
    for (const { total, product, quantity } of await docsOf(database)) {
      if (total > 0) sales++
      if (database === taken) stock[product] -= quantity
    }
  }
  if (!sold.includes(taken)) for (const { product, quantity } of await docsOf(taken)) stock[product] -= quantity
  return { sales, stock }
}

const url = room => `http://${HOST}:${told.port}/${room}`

const opened = (open = database) => {
  const databases = Object.fromEntries(ROOMS.map(room => [room, open(room)]))
  return { databases, sold: SALES_ROOMS.map(room => databases[room]), taken: databases[STOCK_ROOM] }
}

const watched = ({ databases, sold, taken }) => {
  const feeds = Object.values(databases).map(one => one.changes({ since: 'now', live: true }))
  return {
    databases,
    sold,
    taken,
    feeds,
    count: async () => {
      let count = 0
      for (const one of sold) count += (await one.info()).doc_count
      return count
    },
    moved: async () => (await taken.info()).doc_count === LANES.length * told.size,
    state: () => stateOf(sold, taken),
    watch: changed => { for (const feed of feeds) feed.on('change', changed) },
  }
}

const put = async ({ sold: [own], taken }, { key, ...sale }) => {
  await own.put({ _id: key, ...sale })
  if (own !== taken) await taken.put({ _id: key, product: sale.product, quantity: sale.quantity })
}

const connect = ({ databases }) => {
  for (const [room, one] of Object.entries(databases)) one.sync(url(room), { live: true, retry: true, ...BATCH })
}

// One synchronization after the other until everything is there: live ones wait for a heartbeat between.
const connectOnce = store => {
  let over = false
  network.settled(store).then(() => { over = true })
  const again = async (room, one) => { while (!over) await one.sync(url(room), BATCH) }
  for (const [room, one] of Object.entries(store.databases)) again(room, one)
}

let served
const hub = {
  start: async () => {
    const Served = PouchDB.defaults({ prefix: `${told.folder}/`, auto_compaction: true, revs_limit: 1 })
    served = watched(opened(room => new Served(room)))
    for (const one of Object.values(served.databases)) await one.info()
    const app = express()
    app.use(expressPouchDB(Served, {
      mode: 'minimumForPouchDB', inMemoryConfig: true, logPath: join(told.folder, 'log.txt'),
    }))
    await new Promise(resolve => app.listen(told.port, HOST, resolve))
  },
  // A write that LevelDB has taken is with the operating system, which PouchDB does not ask to flush it.
  durable: () => network.settled(served),
}

const productsState = async database => {
  const stock = fullStock()
  for (const { key, number } of catalogue()) stock[number] = (await database.get(key)).price
  return { sales: (await database.info()).doc_count, stock }
}

await play({
  merge: () => merge(async (lane, sales) => {
    const seller = database(`lane${lane}`)
    await seller.bulkDocs(sales.map(({ key, ...sale }) => ({ _id: key, ...sale })))
    return seller
  }, async lanes => {
    const hub = database('hub')
    for (const lane of lanes) await hub.replicate.from(lane, BATCH)
    return stateOf([hub], hub)
  }, () => 0),
  // One document a product, whose revision the writer remembers.
  growth: () => {
    const hub = database('hub')
    const known = new Map()
    return growth(async (product, quantity) => {
      const doc = known.get(product) ?? { _id: `stock/${product}`, product, quantity: 0 }
      doc.quantity += quantity
      doc._rev = (await hub.put(doc)).rev
      known.set(product, doc)
    }, async () => {
      await hub.close()
      return diskBytes(join(told.folder, 'hub'))
    })
  },
  state: () => restart(() => {
    if (!existsSync(join(told.folder, 'hub'))) {
      const { sold, taken } = opened()
      return stateOf(sold, taken)
    }
    const hub = database('hub')
    return stateOf([hub], hub)
  }),
  hub: () => network.hub(hub),
  lane: () => network.lane({ open: () => watched(opened()), sell: put, connect: connectOnce }),
  live: () => network.live({
    open: () => watched(opened()),
    connect,
    sold: put,
    seen: ({ feeds: [feed] }, call) => feed.on('change', ({ id }) => call(id)),
  }),
  fill: async () => {
    await database(ROOM).bulkDocs(catalogue().map(({ key, number, ...values }) => ({ _id: key, ...values })))
    say({ filled: true })
    await hear()
  },
  fresh: () => network.fresh({
    open: () => database(ROOM),
    connect: open => open.replicate.from(url(ROOM), BATCH),
    watch: () => {},
    count: async open => (await open.info()).doc_count,
    get: (open, key) => open.get(key),
    keep: () => {},
  }),
  products: () => restart(() => productsState(database(ROOM))),
})
