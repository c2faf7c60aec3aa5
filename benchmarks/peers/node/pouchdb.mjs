// PouchDB: a sale is a document that names the product and the quantity, and the stock is the sum of the sales, as CouchDB's guide to accounting
// by a ledger advises: a document with a running number would be a conflict. Databases are LevelDB, PouchDB's own choice in Node.

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import express from 'express'
import expressPouchDB from 'express-pouchdb'
import PouchDB from 'pouchdb'
import { HOST, ROOM, catalogue, diskBytes, fullStock, growth, hear, merge, play, restart, say, told } from './child.mjs'
import * as network from './network.mjs'

const database = name => new PouchDB(join(told.folder, name), { auto_compaction: true, revs_limit: 1 })
const BATCH = { batch_size: 1000, batches_limit: 10 }

const stateOf = async hub => {
  const stock = fullStock()
  const { rows } = await hub.allDocs({ include_docs: true })
  let sales = 0
  for (const { doc } of rows) {
    if (doc.total > 0) sales++
    stock[doc.product] -= doc.quantity
  }
  return { sales, stock }
}

const url = () => `http://${HOST}:${told.port}/${ROOM}`

const watched = database => {
  const feed = database.changes({ since: 'now', live: true })
  return {
    database,
    feed,
    count: async () => (await database.info()).doc_count,
    state: () => stateOf(database),
    watch: changed => feed.on('change', changed),
  }
}

const put = ({ database }, { key, ...sale }) => database.put({ _id: key, ...sale })

const connect = ({ database }) => { database.sync(url(), { live: true, retry: true, ...BATCH }) }

// One synchronization after the other until everything is there: live ones wait for a heartbeat between.
const connectOnce = store => {
  let over = false
  network.settled(store).then(() => { over = true })
  const again = async () => { while (!over) await store.database.sync(url(), BATCH) }
  again()
}

let served
const hub = {
  start: async () => {
    const Served = PouchDB.defaults({ prefix: `${told.folder}/`, auto_compaction: true, revs_limit: 1 })
    served = watched(new Served(ROOM))
    await served.database.info()
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
    return stateOf(hub)
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
  state: () => restart(() => stateOf(database(existsSync(join(told.folder, ROOM)) ? ROOM : 'hub'))),
  hub: () => network.hub(hub),
  lane: () => network.lane({ open: () => watched(database('lane')), sell: put, connect: connectOnce }),
  live: () => network.live({
    open: () => watched(database('lane')),
    connect,
    sold: put,
    seen: ({ feed }, call) => feed.on('change', ({ id }) => call(id)),
  }),
  fill: async () => {
    await database(ROOM).bulkDocs(catalogue().map(({ key, number, ...values }) => ({ _id: key, ...values })))
    say({ filled: true })
    await hear()
  },
  fresh: () => network.fresh({
    open: () => database(ROOM),
    connect: open => open.replicate.from(url(), BATCH),
    watch: () => {},
    count: async open => (await open.info()).doc_count,
    get: (open, key) => open.get(key),
    keep: () => {},
  }),
  products: () => restart(() => productsState(database(ROOM))),
})
