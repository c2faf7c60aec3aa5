// TinyBase's MergeableStore: a table of sales, and a table of stock with a row for each product and a cell for each lane, the sum that it has
// taken: cells merge one by one, and only the lane writes its own. Each sale is one transaction. On the disk by its file persister, which writes
// the whole file at each change that it sees. Where a lane is to hold no other lane's sales, they are in a store for each lane, and the stock in
// another, each at a path of its own of the hub: a sale is then a transaction of each.

import { statSync } from 'node:fs'
import { join } from 'node:path'
import { createMergeableStore } from 'tinybase'
import { createFilePersister } from 'tinybase/persisters/persister-file'
import { createWsSynchronizer } from 'tinybase/synchronizers/synchronizer-ws-client'
import { createWsServer } from 'tinybase/synchronizers/synchronizer-ws-server'
import WebSocket, { WebSocketServer } from 'ws'
import {
  HOST, LANES, ROOM, ROOMS, SALES_ROOMS, STOCK_ROOM, catalogue, fullStock, growth, hear, merge, play, restart, say, told,
} from './child.mjs'
import * as network from './network.mjs'

const take = (store, product, quantity, lane) => {
  store.setCell('stock', String(product), `c${lane}`, (taken = 0) => taken + quantity)
}

const sell = (sales, stock, { key, ...sale }, lane) => sales.transaction(() => stock.transaction(() => {
  sales.setRow('sales', key, sale)
  take(stock, sale.product, sale.quantity, lane)
}))

// Of the stores with sales, and of the one with the stock, which may be the same.
const stateOf = (sold, taken) => {
  let sales = 0
  for (const store of sold) store.forEachRow('sales', key => { if (store.getCell('sales', key, 'total') > 0) sales++ })
  const stock = fullStock()
  taken.forEachRow('stock', product => {
    for (const units of Object.values(taken.getRow('stock', product))) stock[product] -= units
  })
  return { sales, stock }
}

const file = (room = ROOM) => join(told.folder, `${room}.json`)

const opened = stores => ({ stores, sold: SALES_ROOMS.map(room => stores[room]), stock: stores[STOCK_ROOM] })

const watched = name => {
  const stores = Object.fromEntries(ROOMS.map(room => [room, createMergeableStore(name)]))
  const { sold, stock } = opened(stores)
  return {
    stores,
    sold,
    stock,
    count: () => sold.reduce((sum, store) => sum + store.getRowCount('sales'), 0),
    moved: () => stock.getTableCellIds('stock').length === LANES.length,
    state: () => stateOf(sold, stock),
    watch: changed => { for (const store of Object.values(stores)) store.addDidFinishTransactionListener(changed) },
  }
}

const connect = ({ stores }) => Promise.all(Object.entries(stores).map(async ([room, store]) => {
  const synchronizer = await createWsSynchronizer(store, new WebSocket(`ws://${HOST}:${told.port}/${room}`))
  await synchronizer.startSync()
}))

const held = watched('hub')
const persisters = {}
let begun
const allBegun = new Promise(resolve => { begun = resolve })

const hub = {
  start: async () => {
    for (const [room, store] of Object.entries(held.stores)) {
      persisters[room] = createFilePersister(store, file(room))
      // What is on the disk already is there before a lane comes.
      await persisters[room].load()
    }
    const server = new WebSocketServer({ port: told.port, host: HOST })
    let waiting = ROOMS.length
    createWsServer(server, room => [persisters[room], () => { if (--waiting === 0) begun() }])
    await new Promise(resolve => server.once('listening', resolve))
  },
  durable: async () => {
    await allBegun
    await network.settled(held)
    for (const persister of Object.values(persisters)) await persister.save()
  },
}

const load = async (room = ROOM) => {
  const store = createMergeableStore('restarted')
  await createFilePersister(store, file(room)).load()
  return store
}

await play({
  merge: () => merge((lane, sales) => {
    const store = createMergeableStore(`c${lane}`)
    for (const sale of sales) sell(store, store, sale, lane)
    return JSON.stringify(store.getMergeableContent())
  }, exports => {
    const hub = createMergeableStore('hub')
    for (const content of exports) hub.applyMergeableChanges(JSON.parse(content))
    return stateOf([hub], hub)
  }),
  growth: () => {
    const store = createMergeableStore('c1')
    return growth((product, quantity) => { take(store, product, quantity, 1) }, async () => {
      await createFilePersister(store, file()).save()
      return statSync(file()).size
    })
  },
  state: () => restart(async () => {
    const stores = {}
    for (const room of ROOMS) stores[room] = await load(room)
    const { sold, stock } = opened(stores)
    return stateOf(sold, stock)
  }),
  hub: () => network.hub(hub),
  lane: () => network.lane({
    open: () => watched(`c${told.lane}`),
    sell: ({ sold: [own], stock }, sale, lane) => { sell(own, stock, sale, lane) },
    connect,
  }),
  live: () => network.live({
    open: () => watched(`c${told.lane}`),
    connect,
    sold: ({ sold: [own], stock }, sale, lane) => { sell(own, stock, sale, lane); return new Promise(setImmediate) },
    seen: ({ sold: [store] }, call) => store.addRowListener('sales', null, (_store, _table, key) => call(key)),
  }),
  fill: async () => {
    const store = createMergeableStore('hub')
    store.transaction(() => {
      // A cell that is null says nothing, and is left out.
      for (const { key, number, ...values } of catalogue()) {
        store.setRow('products', key, Object.fromEntries(Object.entries(values).filter(([, value]) => value !== null)))
      }
    })
    await createFilePersister(store, file()).save()
    say({ filled: true })
    await hear()
  },
  fresh: () => network.fresh({
    open: () => watched('fresh'),
    connect,
    watch: ({ stock: store }, changed) => store.addDidFinishTransactionListener(changed),
    count: ({ stock: store }) => store.getRowCount('products'),
    get: ({ stock: store }, key) => store.getRow('products', key),
    keep: ({ stock: store }) => createFilePersister(store, file()).save(),
  }),
  products: () => restart(async () => {
    const store = await load()
    const stock = fullStock()
    for (const { key, number } of catalogue()) stock[number] = store.getCell('products', key, 'price')
    return { sales: store.getRowCount('products'), stock }
  }),
})
