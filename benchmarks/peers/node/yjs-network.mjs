// The processes of Hocuspocus and y-websocket, which carry the same documents: a system gives its hub, its connection and its stored document.
// Where a lane is to hold no other lane's sales, they lie in a document for each lane, and the stock in another: a sale is then two transactions,
// one in each, for there are none over two documents.

import { writeFileSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import * as Y from 'yjs'
import { ROOM, ROOMS, SALES_ROOMS, STOCK_ROOM, catalogue, fullStock, restart, say, hear, told } from './child.mjs'
import * as network from './network.mjs'
import { Store } from './yjs.mjs'

// The size of a Y.Map is counted anew at each question, which would be this harness's cost and not the system's. Sales are only added.
const counted = (doc, name) => {
  const map = doc.getMap(name)
  let count = map.size
  map.observe(event => { count += event.keysChanged.size })
  return () => count
}

// A store over the documents of all rooms that this process holds, by their names.
const storeOf = docs => {
  const [first, ...others] = SALES_ROOMS.map(room => docs[room])
  return new Store(first, docs[STOCK_ROOM], others)
}

// The same, watched: `watch`, `count` and `moved` as in network.mjs.
export const watched = docs => {
  const store = storeOf(docs)
  const counts = SALES_ROOMS.map(room => counted(docs[room], 'sales'))
  store.docs = docs
  store.count = () => counts.reduce((sum, count) => sum + count(), 0)
  store.moved = () => Object.values(store.taken).every(taken => !taken.keys().next().done)
  store.watch = changed => { for (const doc of Object.values(docs)) doc.on('afterTransaction', changed) }
  return store
}

const open = () => watched(Object.fromEntries(ROOMS.map(room => [room, new Y.Doc()])))
const connectAll = (connect, { docs }) => Promise.all(Object.entries(docs).map(([room, doc]) => connect(doc, room)))

// What a hub has to write and what it has written: `ended()` resolves when these are the same.
export class Writes {
  begun = 0
  done = 0
  #waiting = []

  end (upto = this.done + 1) {
    this.done = upto
    if (this.done === this.begun) for (const call of this.#waiting.splice(0)) call()
  }

  ended () { return this.done === this.begun ? Promise.resolve() : new Promise(resolve => this.#waiting.push(resolve)) }
}

const productsState = doc => {
  const stock = fullStock()
  const products = doc.getMap('products')
  for (const { key, number } of catalogue()) stock[number] = products.get(key).price
  return { sales: products.size, stock }
}

const file = () => join(told.folder, 'document.bin')

// `connect(doc, room)` ends when the document is connected, `hub` is as in network.mjs, `load(room)` returns the document that the hub stored,
// `store(doc)` puts a document where the hub finds it.
export const roles = ({ connect, hub, load, store, sent = () => new Promise(setImmediate) }) => ({
  hub: () => network.hub(hub),
  state: () => restart(async () => {
    const docs = {}
    for (const room of ROOMS) docs[room] = await load(room)
    return storeOf(docs).state()
  }),
  lane: () => network.lane({
    open,
    sell: (store, sale, lane) => store.sell(sale, lane),
    connect: store => connectAll(connect, store),
  }),
  live: () => network.live({
    open,
    connect: store => connectAll(connect, store),
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
    connect: doc => connect(doc, ROOM),
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
