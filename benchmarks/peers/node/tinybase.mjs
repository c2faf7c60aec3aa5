// TinyBase's MergeableStore: a table of sales, and a table of stock with a row for each product and a cell for each lane, the sum that it has
// taken: cells merge one by one, and only the lane writes its own. Each sale is one transaction. On the disk by its file persister, which writes
// the whole file at each change that it sees.

import { statSync } from 'node:fs'
import { join } from 'node:path'
import { createMergeableStore } from 'tinybase'
import { createFilePersister } from 'tinybase/persisters/persister-file'
import { createWsSynchronizer } from 'tinybase/synchronizers/synchronizer-ws-client'
import { createWsServer } from 'tinybase/synchronizers/synchronizer-ws-server'
import WebSocket, { WebSocketServer } from 'ws'
import { HOST, ROOM, catalogue, fullStock, growth, hear, merge, play, restart, say, told } from './child.mjs'
import * as network from './network.mjs'

const take = (store, product, quantity, lane) => {
  store.setCell('stock', String(product), `c${lane}`, (taken = 0) => taken + quantity)
}

const sell = (store, { key, ...sale }, lane) => store.transaction(() => {
  store.setRow('sales', key, sale)
  take(store, sale.product, sale.quantity, lane)
})

const stateOf = store => {
  let sales = 0
  store.forEachRow('sales', key => { if (store.getCell('sales', key, 'total') > 0) sales++ })
  const stock = fullStock()
  store.forEachRow('stock', product => {
    for (const taken of Object.values(store.getRow('stock', product))) stock[product] -= taken
  })
  return { sales, stock }
}

const file = () => join(told.folder, 'store.json')

const watched = (store = createMergeableStore()) => ({
  store,
  count: () => store.getRowCount('sales'),
  state: () => stateOf(store),
  watch: changed => store.addDidFinishTransactionListener(changed),
})

const connect = async ({ store }) => {
  const synchronizer = await createWsSynchronizer(store, new WebSocket(`ws://${HOST}:${told.port}/${ROOM}`))
  await synchronizer.startSync()
}

let persister
let storedAll
const durable = new Promise(resolve => { storedAll = resolve })

const hub = {
  start: async () => {
    const store = createMergeableStore('hub')
    persister = createFilePersister(store, file())
    // What is on the disk already is there before a lane comes.
    await persister.load()
    const server = new WebSocketServer({ port: told.port, host: HOST })
    createWsServer(server, () => [persister, () => {
      network.settled(watched(store)).then(() => persister.save()).then(storedAll)
    }])
    await new Promise(resolve => server.once('listening', resolve))
  },
  durable: () => durable,
}

await play({
  merge: () => merge((lane, sales) => {
    const store = createMergeableStore(`c${lane}`)
    for (const sale of sales) sell(store, sale, lane)
    return JSON.stringify(store.getMergeableContent())
  }, exports => {
    const hub = createMergeableStore('hub')
    for (const content of exports) hub.applyMergeableChanges(JSON.parse(content))
    return stateOf(hub)
  }),
  growth: () => {
    const store = createMergeableStore('c1')
    return growth((product, quantity) => { take(store, product, quantity, 1) }, async () => {
      await createFilePersister(store, file()).save()
      return statSync(file()).size
    })
  },
  state: () => restart(async () => {
    const store = createMergeableStore('restarted')
    await createFilePersister(store, file()).load()
    return stateOf(store)
  }),
  hub: () => network.hub(hub),
  lane: () => network.lane({
    open: () => watched(createMergeableStore(`c${told.lane}`)),
    sell: ({ store }, sale, lane) => { sell(store, sale, lane) },
    connect,
  }),
  live: () => network.live({
    open: () => watched(createMergeableStore(`c${told.lane}`)),
    connect,
    sold: ({ store }, sale, lane) => { sell(store, sale, lane); return new Promise(setImmediate) },
    seen: ({ store }, call) => store.addRowListener('sales', null, (_store, _table, key) => call(key)),
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
    open: () => watched(createMergeableStore('fresh')),
    connect,
    watch: ({ store }, changed) => store.addDidFinishTransactionListener(changed),
    count: ({ store }) => store.getRowCount('products'),
    get: ({ store }, key) => store.getRow('products', key),
    keep: ({ store }) => createFilePersister(store, file()).save(),
  }),
  products: () => restart(async () => {
    const store = createMergeableStore('restarted')
    await createFilePersister(store, file()).load()
    const stock = fullStock()
    for (const { key, number } of catalogue()) stock[number] = store.getCell('products', key, 'price')
    return { sales: store.getRowCount('products'), stock }
  }),
})
