// The processes of the cells over a network, for every system with Node: a system gives what is its own.

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { catalogue, hear, isExpected, laneSales, now, say, sayState, told, wireBytes } from './child.mjs'

// Call `check` now and at every change until it returns a state; changes that come while it looks are looked at once, afterwards.
const until = (watch, check) => new Promise(resolve => {
  let looking = false
  let again = false
  let found = false
  const look = async () => {
    again = false
    const state = await check()
    looking = false
    if (state) { found = true; resolve(state) } else if (again) changed()
  }
  const changed = () => {
    again = true
    if (!looking && !found) { looking = true; setImmediate(look) }
  }
  watch(changed)
  changed()
})

// `store` has count(), state() and watch(changed); a state is read only when all sales are there and, where a lane waits for movements of the
// stock alone, when `moved()` says that the other lanes' may be there.
export const settled = store => until(store.watch, async () => {
  if (await store.count() !== told.sales || !(await store.moved())) return null
  const state = await store.state()
  return isExpected(state) ? state : null
})

const sayDone = async (state, more = {}) => {
  sayState(state, { done_ns: now(), wire_bytes: wireBytes(), ...more })
  await hear()
}

// A lane that has sold offline.
export const lane = async ({ open, sell, connect }) => {
  const store = await open()
  for (const sale of laneSales(told.lane)) await sell(store, sale, told.lane)
  say({ ready: true })
  await hear()
  await connect(store)
  await sayDone(await settled(store))
}

// A lane that sells while it is connected; `sold(store, sale)` ends with the acknowledgement that the system offers, if it offers one.
// `seen(store, call)` calls with the key of every sale of another lane that can be read.
export const live = async ({ open, connect, sold, seen }) => {
  const sales = laneSales(told.lane)
  const store = await open()
  const log = { made: {}, seen: {} }
  seen(store, key => { log.seen[key] ??= now() })
  await connect(store)
  say({ ready: true })
  await hear()
  const done = settled(store)
  const begun = performance.now()
  for (const [number, sale] of sales.entries()) {
    if (told.every) await pause(begun + number * told.every * 1e3 - performance.now())
    log.made[sale.key] = now()
    await sold(store, sale, told.lane)
  }
  const state = await done
  const file = join(told.folder, 'log.json')
  const done_ns = now()
  for (const key of Object.keys(log.seen)) if (key in log.made) delete log.seen[key]
  writeFileSync(file, JSON.stringify(log))
  await sayDone(state, { done_ns, log: file })
}

// A hub: `durable()` ends when everything is there and on its disk.
export const hub = async ({ start, durable }) => {
  await start()
  say({ ready: true })
  const done = durable()
  await done
  say({ done_ns: now() })
  await hear()
}

// A fresh node that downloads a catalogue: `get(store, key)` reads a product, `keep(store)` puts everything on the disk.
export const fresh = async ({ open, connect, watch, count, get, keep }) => {
  const keys = catalogue().map(({ key }) => key)
  const store = await open()
  say({ ready: true })
  await hear()
  await connect(store)
  await until(changed => watch(store, changed), async () => await count(store) === told.size)
  const stock = []
  for (const key of keys) stock.push((await get(store, key)).price)
  await keep(store)
  await sayDone({ sales: stock.length, stock })
}

