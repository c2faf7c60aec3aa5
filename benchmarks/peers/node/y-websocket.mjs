// y-websocket with @y/websocket-server and y-leveldb: the hub writes every update that comes to LevelDB, one after the other, and tells nobody.

import { createServer } from 'node:http'
import { join } from 'node:path'
import { getYDoc, setPersistence, setupWSConnection } from '@y/websocket-server/utils'
import WebSocket, { WebSocketServer } from 'ws'
import { LeveldbPersistence } from 'y-leveldb'
import { WebsocketProvider } from 'y-websocket'
import * as Y from 'yjs'
import { HOST, ROOM, ROOMS, play, told } from './child.mjs'
import * as network from './network.mjs'
import { Writes, roles, watched } from './yjs-network.mjs'

const database = () => new LeveldbPersistence(join(told.folder, 'leveldb'))

let held
const writes = new Writes()

const start = async () => {
  const stored = database()
  const bound = []
  setPersistence({
    // As its readme shows it.
    bindState: (name, doc) => {
      const binding = (async () => {
        Y.applyUpdate(doc, Y.encodeStateAsUpdate(await stored.getYDoc(name)))
        doc.on('update', async update => {
          writes.begun++
          await stored.storeUpdate(name, update)
          writes.end()
        })
      })()
      bound.push(binding)
      return binding
    },
    writeState: async () => {},
  })
  // The documents stay loaded, as those of a hub at work.
  const docs = Object.fromEntries(ROOMS.map(room => [room, getYDoc(room)]))
  for (const doc of Object.values(docs)) doc.conns.set({ readyState: 0, send () {}, close () {} }, new Set())
  await Promise.all(bound)
  held = watched(docs)
  const server = createServer()
  const sockets = new WebSocketServer({ server })
  sockets.on('connection', (socket, request) => setupWSConnection(socket, request))
  await new Promise(resolve => server.listen(told.port, HOST, resolve))
}

const durable = async () => {
  await network.settled(held)
  await writes.ended()
}

let reading
const load = room => {
  reading ??= database()
  return reading.getYDoc(room)
}

await play(roles({
  hub: { start, durable },
  connect: (doc, room) => new Promise(resolve => {
    const provider = new WebsocketProvider(`ws://${HOST}:${told.port}`, room, doc, {
      WebSocketPolyfill: WebSocket, disableBc: true,
    })
    provider.once('sync', resolve)
  }),
  load,
  store: async doc => { await database().storeUpdate(ROOM, Y.encodeStateAsUpdate(doc)) },
}))
