// PouchDB: a sale is a document that names the product and the quantity, and the stock is the sum of the sales, as CouchDB's guide to accounting
// by a ledger advises: a document with a running number would be a conflict. Databases are LevelDB, PouchDB's own choice in Node.

import { join } from 'node:path'
import PouchDB from 'pouchdb'
import { diskBytes, fullStock, merge, play, growth, restart, told } from './child.mjs'

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
  state: () => restart(() => stateOf(database('hub'))),
})
