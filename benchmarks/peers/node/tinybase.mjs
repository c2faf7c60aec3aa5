// TinyBase's MergeableStore: a table of sales, and a table of stock with a row for each product and a cell for each lane, the sum that it has
// taken: cells merge one by one, and only the lane writes its own. Each sale is one transaction. On the disk by its file persister.

import { statSync } from 'node:fs'
import { join } from 'node:path'
import { createMergeableStore } from 'tinybase'
import { createFilePersister } from 'tinybase/persisters/persister-file'
import { fullStock, growth, merge, play, restart, told } from './child.mjs'

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
})
