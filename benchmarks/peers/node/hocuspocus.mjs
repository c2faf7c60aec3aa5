// Hocuspocus with its SQLite extension. The hub stores the whole document when nothing has changed for a while, 200 ms here and a second at
// most (its defaults are 2 and 10 seconds), so there is no acknowledgement that a single change is on the disk.

import { join } from 'node:path'
import { SQLite } from '@hocuspocus/extension-sqlite'
import { HocuspocusProvider, HocuspocusProviderWebsocket } from '@hocuspocus/provider'
import { Server } from '@hocuspocus/server'
import WebSocket from 'ws'
import * as Y from 'yjs'
import { HOST, ROOM, ROOMS, play, told } from './child.mjs'
import * as network from './network.mjs'
import { Writes, roles, watched } from './yjs-network.mjs'

const database = () => new SQLite({ database: join(told.folder, 'hub.sqlite') })

let held
const writes = Object.fromEntries(ROOMS.map(room => [room, new Writes()]))
const storing = {}

const start = async () => {
  const server = new Server({
    name: 'hub',
    port: told.port,
    address: HOST,
    quiet: true,
    debounce: 200,
    maxDebounce: 1000,
    extensions: [
      database(),
      // Asked before the document is written, so that what it notes is about what is written.
      { priority: 1000, async onStoreDocument ({ documentName }) { storing[documentName] = writes[documentName].begun } },
    ],
    async afterStoreDocument ({ documentName }) { writes[documentName].end(storing[documentName]) },
  })
  await server.listen()
  // The documents stay loaded, as those of a hub at work.
  const docs = {}
  for (const room of ROOMS) {
    docs[room] = (await server.hocuspocus.openDirectConnection(room)).document
    docs[room].on('update', () => { writes[room].begun++ })
  }
  held = watched(docs)
}

const durable = async () => {
  await network.settled(held)
  for (const room of ROOMS) await writes[room].ended()
}

const opened = async () => {
  const extension = database()
  await extension.onConfigure()
  return extension
}

// One connection carries all documents of a process.
let connected
const connection = () => {
  connected ??= new HocuspocusProviderWebsocket({ url: `ws://${HOST}:${told.port}`, WebSocketPolyfill: WebSocket })
  return connected
}

await play(roles({
  hub: { start, durable },
  connect: (doc, room) => new Promise(resolve => {
    const provider = new HocuspocusProvider({ websocketProvider: connection(), name: room, document: doc, onSynced: resolve })
    provider.attach()
  }),
  load: async room => {
    const doc = new Y.Doc()
    Y.applyUpdate(doc, await (await opened()).configuration.fetch({ documentName: room }))
    return doc
  },
  store: async doc => (await opened()).configuration.store({ documentName: ROOM, state: Buffer.from(Y.encodeStateAsUpdate(doc)) }),
}))
