// Hocuspocus with its SQLite extension. The hub stores the whole document when nothing has changed for a while, 200 ms here and a second at
// most (its defaults are 2 and 10 seconds), so there is no acknowledgement that a single change is on the disk.

import { join } from 'node:path'
import { SQLite } from '@hocuspocus/extension-sqlite'
import { HocuspocusProvider, HocuspocusProviderWebsocket } from '@hocuspocus/provider'
import { Server } from '@hocuspocus/server'
import WebSocket from 'ws'
import * as Y from 'yjs'
import { HOST, ROOM, play, told } from './child.mjs'
import { isComplete, roles } from './yjs-network.mjs'

const database = () => new SQLite({ database: join(told.folder, 'hub.sqlite') })

let storedAll
let complete = false
const durable = new Promise(resolve => { storedAll = resolve })

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
      // Asked before the document is written, so that what it answers is about what is written.
      { priority: 1000, async onStoreDocument ({ document }) { complete = isComplete(document) } },
    ],
    async afterStoreDocument () { if (complete) storedAll() },
  })
  await server.listen()
  // The document stays loaded, as that of a hub at work.
  await server.hocuspocus.openDirectConnection(ROOM)
}

const opened = async () => {
  const extension = database()
  await extension.onConfigure()
  return extension
}

await play(roles({
  hub: { start, durable: () => durable },
  connect: doc => new Promise(resolve => {
    const websocketProvider = new HocuspocusProviderWebsocket({ url: `ws://${HOST}:${told.port}`, WebSocketPolyfill: WebSocket })
    const provider = new HocuspocusProvider({ websocketProvider, name: ROOM, document: doc, onSynced: resolve })
    provider.attach()
  }),
  load: async () => {
    const doc = new Y.Doc()
    Y.applyUpdate(doc, await (await opened()).configuration.fetch({ documentName: ROOM }))
    return doc
  },
  store: async doc => (await opened()).configuration.store({ documentName: ROOM, state: Buffer.from(Y.encodeStateAsUpdate(doc)) }),
}))
