// Yjs: the document that Hocuspocus and y-websocket carry, and its cells in process.
// A sale never changes, so it is a plain value of the Map: one item. A shared number that two write at once keeps one of the two,
// so each lane has a Map with the sum that it has taken of each product, which only it writes. Each sale is one transaction.

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as Y from 'yjs'
import { LANES, fullStock, growth, merge, play, restart, told } from './child.mjs'

// One document, or others besides it: for the stock, and for the sales of other lanes.
export class Store {
  constructor (doc = new Y.Doc(), stockDoc = doc, others = []) {
    this.doc = doc
    this.sales = doc.getMap('sales')
    this.allSales = [doc, ...others].map(one => one.getMap('sales'))
    this.taken = Object.fromEntries(LANES.map(lane => [lane, stockDoc.getMap(`stock/${lane}`)]))
  }

  sell ({ key, ...sale }, lane) {
    this.doc.transact(() => {
      this.sales.set(key, sale)
      this.take(sale.product, sale.quantity, lane)
    })
  }

  take (product, quantity, lane) {
    const taken = this.taken[lane]
    const key = String(product)
    taken.set(key, (taken.get(key) ?? 0) + quantity)
  }

  state () {
    let sales = 0
    for (const map of this.allSales) for (const sale of map.values()) if (sale.total > 0) sales++
    const stock = fullStock()
    for (const lane of LANES) for (const [product, taken] of this.taken[lane]) stock[product] -= taken
    return { sales, stock }
  }
}

export const sellAll = (lane, sales, store = new Store()) => {
  for (const sale of sales) store.sell(sale, lane)
  return store
}

const snapshot = () => join(told.folder, 'document.bin')

export const roles = {
  merge: () => merge(
    (lane, sales) => Y.encodeStateAsUpdate(sellAll(lane, sales).doc),
    updates => {
      const hub = new Store()
      for (const update of updates) Y.applyUpdate(hub.doc, update)
      return hub.state()
    }),
  growth: () => {
    const store = new Store()
    return growth((product, quantity) => { store.take(product, quantity, 1) }, () => {
      const data = Y.encodeStateAsUpdate(store.doc)
      writeFileSync(snapshot(), data)
      return data.length
    })
  },
  state: () => restart(() => {
    const store = new Store()
    Y.applyUpdate(store.doc, readFileSync(snapshot()))
    return store.state()
  }),
}

if (process.argv[1] === import.meta.filename) await play(roles)
