// Automerge: sales as plain objects, which never change; stock as its Counters, in a first document that all lanes begin with, since Counters
// that two make for the same key would be two. Both lie in buckets of a hundred: a change copies the whole object that it is in.
// Each sale is one change.

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as A from '@automerge/automerge'
import { fullStock, growth, merge, play, restart, told } from './child.mjs'

const bucketOf = product => String(Math.floor(product / 100))

const base = () => {
  const stock = {}
  fullStock().forEach((left, product) => { (stock[bucketOf(product)] ??= {})[product] = new A.Counter(left) })
  return A.save(A.from({ sales: {}, stock }, { actor: '00' }))
}

const take = (document, product, quantity) => document.stock[bucketOf(product)][product].decrement(quantity)

const sell = (document, { key, ...sale }) => {
  const bucket = key.slice(0, -2)
  if (!(bucket in document.sales)) document.sales[bucket] = {}
  document.sales[bucket][key] = sale
  take(document, sale.product, sale.quantity)
}

const stateOf = document => {
  let sales = 0
  for (const bucket of Object.values(document.sales)) for (const sale of Object.values(bucket)) if (sale.total > 0) sales++
  return { sales, stock: fullStock().map((_, product) => document.stock[bucketOf(product)][product].value) }
}

const snapshot = () => join(told.folder, 'document.bin')

await play({
  merge: () => {
    const first = base()
    return merge((_lane, sales) => {
      let document = A.load(first)
      for (const sale of sales) document = A.change(document, draft => sell(draft, sale))
      return A.save(document)
    }, exports => stateOf(exports.slice(1).reduce((document, data) => A.loadIncremental(document, data), A.load(exports[0]))))
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
  state: () => restart(() => stateOf(A.load(readFileSync(snapshot())))),
})
