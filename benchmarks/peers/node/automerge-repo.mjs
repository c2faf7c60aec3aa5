// Automerge: sales as plain objects, which never change; stock as its Counters, in a first document that all lanes begin with, since Counters
// that two make for the same key would be two. Both lie in buckets of a hundred: a change copies the whole object that it is in.
// Each sale is one change. Over the network: the hub is a Repo with its websocket adapter and its storage of files, without an acknowledgement
// that a change is on the hub's disk; the lanes hold the document in memory.

import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as A from '@automerge/automerge'
import { Repo, parseAutomergeUrl, stringifyAutomergeUrl } from '@automerge/automerge-repo'
import { WebSocketClientAdapter, WebSocketServerAdapter } from '@automerge/automerge-repo-network-websocket'
import { NodeFSStorageAdapter } from '@automerge/automerge-repo-storage-nodefs'
import { WebSocketServer } from 'ws'
import { HOST, fullStock, growth, merge, play, restart, told } from './child.mjs'
import * as network from './network.mjs'

const bucketOf = product => String(Math.floor(product / 100))

// The same bytes in every process: its actor and its time are given.
const base = () => {
  const stock = {}
  fullStock().forEach((left, product) => { (stock[bucketOf(product)] ??= {})[product] = new A.Counter(left) })
  return A.save(A.change(A.init({ actor: '00' }), { time: 0 }, document => Object.assign(document, { sales: {}, stock })))
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

// The document that all know beforehand.
const { documentId } = parseAutomergeUrl(stringifyAutomergeUrl({ documentId: new Uint8Array(16).fill(7) }))
const storage = () => new NodeFSStorageAdapter(join(told.folder, 'repo'))

const watched = (repo, handle) => {
  // Sales are only added; the keys of a bucket that has just come are counted with the bucket.
  let count = 0
  const listeners = []
  const added = ({ patches }) => {
    for (const { action, path } of patches) {
      if (action === 'put' && path.length === 3 && path[0] === 'sales') {
        count++
        for (const call of listeners) call(path[2])
      }
    }
  }
  handle.on('change', added)
  return {
    repo,
    handle,
    count: () => count,
    // Only the whole stock tells.
    moved: () => true,
    seen: call => listeners.push(call),
    state: () => stateOf(handle.doc()),
    watch: changed => handle.on('change', changed),
  }
}

const openRepo = (config = {}) => {
  const repo = new Repo({ network: [], ...config })
  const handle = repo.import(base(), { docId: documentId })
  return watched(repo, handle)
}

const connect = ({ repo }) => {
  repo.networkSubsystem.addNetworkAdapter(new WebSocketClientAdapter(`ws://${HOST}:${told.port}`))
  return repo.networkSubsystem.whenReady()
}

let store
const hub = {
  start: () => {
    const server = new WebSocketServer({ port: told.port, host: HOST })
    store = openRepo({ network: [new WebSocketServerAdapter(server)], storage: storage() })
    return new Promise(resolve => server.once('listening', resolve))
  },
  durable: async () => {
    await network.settled(store)
    await store.repo.flush()
  },
}

const stored = async () => {
  const repo = new Repo({ network: [], storage: storage() })
  return (await repo.find(stringifyAutomergeUrl({ documentId }))).doc()
}

const change = async (open, sale) => open.handle.change(document => sell(document, sale))

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
  state: () => restart(async () => stateOf(existsSync(snapshot()) ? A.load(readFileSync(snapshot())) : await stored())),
  hub: () => network.hub(hub),
  lane: () => network.lane({ open: openRepo, sell: change, connect }),
  live: () => network.live({
    open: openRepo,
    connect,
    sold: async (open, sale) => { await change(open, sale); await new Promise(setImmediate) },
    seen: (open, call) => open.seen(call),
  }),
})
