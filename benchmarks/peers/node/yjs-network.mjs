// The processes of Hocuspocus and y-websocket, which carry the same documents: a system gives its hub, its connection and its stored document.

import { writeFileSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import * as Y from 'yjs'
import { LANES, catalogue, fullStock, isExpected, restart, say, hear, told } from './child.mjs'
import * as network from './network.mjs'
import { Store } from './yjs.mjs'

// The size of a Y.Map is counted anew at each question, which would be this harness's cost and not the system's. Sales are only added.
const counted = (doc, name) => {
  const map = doc.getMap(name)
  let count = map.size
  map.observe(event => { count += event.keysChanged.size })
  return () => count
}

const watched = () => {
  const store = new Store()
  store.count = counted(store.doc, 'sales')
  store.watch = changed => store.doc.on('afterTransaction', changed)
  return store
}

const hubs = new WeakMap()

// Whether a document holds all that the hub is to hold; the whole state is read only when all sales are there.
export const isComplete = doc => {
  if (!hubs.has(doc)) hubs.set(doc, { store: new Store(doc), count: counted(doc, 'sales') })
  const { store, count } = hubs.get(doc)
  return count() === LANES.length * told.size && isExpected(store.state())
}

const productsState = doc => {
  const stock = fullStock()
  const products = doc.getMap('products')
  for (const { key, number } of catalogue()) stock[number] = products.get(key).price
  return { sales: products.size, stock }
}

const file = () => join(told.folder, 'document.bin')

// `connect(doc)` ends when the document is connected, `hub` is as in network.mjs, `load()` returns the document that the hub stored,
// `store(doc)` puts a document where the hub finds it.
export const roles = ({ connect, hub, load, store, sent = () => new Promise(setImmediate) }) => ({
  hub: () => network.hub(hub),
  state: () => restart(async () => new Store(await load()).state()),
  lane: () => network.lane({
    open: watched,
    sell: (store, sale, lane) => store.sell(sale, lane),
    connect: store => connect(store.doc),
  }),
  live: () => network.live({
    open: watched,
    connect: store => connect(store.doc),
    sold: (store, sale, lane) => { store.sell(sale, lane); return sent() },
    seen: (store, call) => store.sales.observe(event => { for (const key of event.keysChanged) call(key) }),
  }),
  fill: async () => {
    const doc = new Y.Doc()
    doc.transact(() => { for (const { key, number, ...values } of catalogue()) doc.getMap('products').set(key, values) })
    await store(doc)
    say({ filled: true })
    await hear()
  },
  fresh: () => network.fresh({
    open: () => {
      const doc = new Y.Doc()
      return Object.assign(doc, { productCount: counted(doc, 'products') })
    },
    connect,
    watch: (doc, changed) => doc.on('afterTransaction', changed),
    count: doc => doc.productCount(),
    get: (doc, key) => doc.getMap('products').get(key),
    keep: doc => writeFileSync(file(), Y.encodeStateAsUpdate(doc), { flush: true }),
  }),
  products: () => restart(() => {
    const doc = new Y.Doc()
    Y.applyUpdate(doc, readFileSync(file()))
    return productsState(doc)
  }),
})
