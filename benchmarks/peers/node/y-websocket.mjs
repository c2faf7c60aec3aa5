// y-websocket with @y/websocket-server and y-leveldb: the hub writes every update that comes to LevelDB, one after the other, and tells nobody.

import { createServer } from 'node:http'
import { join } from 'node:path'
import { getYDoc, setPersistence, setupWSConnection } from '@y/websocket-server/utils'
import WebSocket, { WebSocketServer } from 'ws'
import { LeveldbPersistence } from 'y-leveldb'
import { WebsocketProvider } from 'y-websocket'
import * as Y from 'yjs'
import { HOST, ROOM, play, told } from './child.mjs'
import { isComplete, roles } from './yjs-network.mjs'

const database = () => new LeveldbPersistence(join(told.folder, 'leveldb'))

let storedAll
const durable = new Promise(resolve => { storedAll = resolve })

const start = async () => {
  const stored = database()
  let bound
  const loaded = new Promise(resolve => { bound = resolve })
  setPersistence({
    // As its readme shows it.
    bindState: async (name, doc) => {
      Y.applyUpdate(doc, Y.encodeStateAsUpdate(await stored.getYDoc(name)))
      doc.on('update', async update => {
        const written = stored.storeUpdate(name, update)
        const complete = isComplete(doc)
        await written
        if (complete) storedAll()
      })
      bound()
    },
    writeState: async () => {},
  })
  // The document stays loaded, as that of a hub at work.
  getYDoc(ROOM).conns.set({ readyState: 0, send () {}, close () {} }, new Set())
  await loaded
  const server = createServer()
  const sockets = new WebSocketServer({ server })
  sockets.on('connection', (socket, request) => setupWSConnection(socket, request))
  await new Promise(resolve => server.listen(told.port, HOST, resolve))
}

await play(roles({
  hub: { start, durable: () => durable },
  connect: doc => new Promise(resolve => {
    const provider = new WebsocketProvider(`ws://${HOST}:${told.port}`, ROOM, doc, {
      WebSocketPolyfill: WebSocket, disableBc: true,
    })
    provider.once('sync', resolve)
  }),
  load: () => database().getYDoc(ROOM),
  store: async doc => { await database().storeUpdate(ROOM, Y.encodeStateAsUpdate(doc)) },
}))
