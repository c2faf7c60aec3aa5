"""Every limit, with its unit in its name; nothing here decides what happens when one is reached."""

from __future__ import annotations

STORE_CACHE_KIB = 16 * 1024
"""SQLite's page cache of one store, KiB: the leaves that a bulk load of a 100,000-record category keeps coming back to."""

STORE_WAL_CHECKPOINT_PAGES = 4_000
"""WAL pages (4 KiB each) after which a commit checkpoints by itself, if no quieter moment came before."""

STORE_CHECKPOINT_ROWS = 1_500
"""Rows written after which the store is checkpointed when nobody waits for it, so that no commit has to do it."""

STORE_STATEMENTS_CACHED = 512
"""Prepared statements kept by a store's connection: every statement of every category stays prepared."""

STORE_LOCK_SECONDS_MAX = 2.0
"""How long a write waits for another program's lock on the file before it is refused, seconds; reads wait behind it."""

STORE_RETRY_SECONDS = 5.0
"""How often a node whose store refused a write tries again by itself, seconds."""

DESCRIPTORS_MAX = 8_192
"""File descriptors that a node asks the system for."""

DESCRIPTORS_PERCENT_MAX = 90
"""Use of the process's file descriptors from which on it is an alert, percent of the limit."""

STORE_COPY_PAGES = 4_096
"""Pages (4 KiB each) that a backup copies between two reports of how far it is."""

REPLICA_MAX = (1 << 53) - 1
"""Greatest replica number: a yrs client id survives as an exact integer up to here."""

SEQ_MAX = (1 << 32) - 1
"""Greatest sequence of a log: yrs counts in 32 bits and would take a greater one for a small one. A batch a second for 136 years."""

BATCH_BYTES_MAX = 128 * 1024
"""Encoded size of one transaction in one document, bytes."""

BATCH_READ_BYTES_MAX = 240 * 1024
"""Encoded size of a batch that is read, bytes: one written again after a fork names one more replica in each group."""

ROWS_PER_BATCH = 32
"""Records in one batch of a bulk load or a compaction: large enough to share stamps, small enough to slice."""

CHUNK_BYTES_MAX = 32 * 1024
"""Element bytes of one piece of a diff, one batch at least: a local write waits for no more than one piece."""

CHUNK_FIRST_BYTES_MAX = 192 * 1024
"""The same of a document that the peer has nothing of: nobody works with it yet, and large pieces cost a third."""

ELEMENT_OVERHEAD_BYTES = 40
"""Upper bound of what one element costs in an update beside its own bytes."""

VALUE_DEPTH_MAX = 16
"""Lists and maps inside each other in a value of a field that this version does not know."""

FIELDS_MAX = 512
"""Slots of one group of a batch, and fields of one entity."""

OPTIONAL_FIELDS_MAX = 4_096
"""Optional fields and struct positions of one schema: the greeting names them all, in one frame."""

KEY_CHARS_MAX = 256
"""Length of a record key, characters."""

TEXT_CHARS_MAX = 16 * 1024
"""Length of a text field that names no limit of its own, characters."""

STRUCT_POSITIONS_MAX = 256
"""Positions of one struct, those that a newer version added included."""

ACTOR_CHARS_MAX = 64
"""Length of the name of who wrote a batch, characters."""

CAUSE_CHARS_MAX = 128
"""Length of the cause of a counter movement, characters."""

MOVEMENT_NAME_CHARS_MAX = 128
"""Length of the name of a counter movement that counts once, characters."""

NAMES_PER_COUNT_MAX = 2_000
"""Named movements that one inventory count includes; with the longest names a transaction is full before that."""

VECTOR_ENTRIES_MAX = 10_000
"""Replicas named by one vector."""

REPLICAS_PER_DEVICE_MAX = 256
"""Replicas of one device below: it has one, and another after each restore or clone."""

AMOUNT_MAX = (1 << 63) - 1
"""Greatest scaled amount: what an SQLite integer holds."""

DECIMAL_PLACES_MAX = 18
"""Decimal places of an amount: with one more, not even 1 would be under the greatest."""

CUTS_PROMISED_MAX = 64
"""Cuts of one document that wait at once; more of them are joined, the oldest first."""

COMPACTION_CELLS_MIN = 4_096
"""Superseded writes below which a log is not worth compacting."""

DOCUMENTS_LOADED_MAX = 64
"""Documents kept in memory by one node."""

CLOCK_DRIFT_MS_MAX = 6 * 3600 * 1000
"""How far ahead of this node's corrected clock a stamp may be before it is bounded, milliseconds: more than a wrong time
zone or summer time inside Brazil (5 hours), less than a working day. After a greeting clocks are corrected to seconds."""

REMOVAL_RECORDS_MIN = 20
"""Fewest records that one write deletes for it to be a mass removal."""

REMOVAL_SHARE = 20
"""A mass removal deletes more than one in this many of the records that a document shows."""

CLOCK_OFFSET_MS_MAX = 2 * 60 * 1000
"""Difference between two clocks at a greeting from which a person is told, and which a restart must not forget, milliseconds."""

RECONNECT_SECONDS_MAX = 60.0
"""Longest full-jitter wait before the link to the upstream is tried again."""

RECONNECT_SECONDS_MIN = 1.0
"""Shortest ceiling of the full-jitter wait."""

CHECK_SECONDS = 15 * 60.0
"""Time between two routine checks of a scheduled link."""

COOLDOWN_SECONDS = 5 * 60.0
"""Time after a completed manual run during which a person cannot start another."""

PRESS_SECONDS_MAX = 20.0
"""How long a person's press may take to connect and compare heads before it is answered as unreachable, seconds."""

RATE_BYTES_MIN = 16_000
"""Slowest bandwidth limit, bytes a second: one data frame then takes about as long as half an owed answer may."""

RATE_BYTES_MAX = 1 << 40
"""Fastest bandwidth limit, bytes a second."""

LIVE_RECORDS_MAX = 100
"""Records of a live run that shares a row of history with others; a larger one has its own."""

LIVE_GATHER_MS = 15 * 60 * 1000
"""How long small live runs share one row of history, milliseconds."""

HISTORY_DAYS = 90
"""How long a run stays in the history, days."""

HISTORY_FAILED_DAYS = 365
"""How long a run that was not whole stays in the history, days."""

HISTORY_STORE_SECONDS = 10.0
"""How old the stored figures of a run that is going on may be, seconds."""

PRUNE_SECONDS = 3600.0
"""Time between two prunings of the history."""

PAGE_ROWS_MAX = 1_000
"""Rows of history or of the queue in one answer."""

LOCAL_TURN_SECONDS_MAX = 0.05
"""How long an open local transaction keeps remote work from being started, seconds."""

REMOTE_WAIT_SECONDS_MAX = 0.2
"""How long local transactions, however many, keep remote work from being started, seconds."""

REMOTE_WAIT_SECONDS_MIN = 0.01
"""And how long at least, when they leave it no gap."""

REMOTE_BEHIND_SECONDS = 30.0
"""When local transactions leave no gap for so long, which no person does, remote work takes `LOCAL_TURN_SECONDS_MAX` at a stretch,
seconds."""

REMOTE_SLICE_SECONDS = 0.003
"""How long one stretch of remote work should take while people work at the node, seconds; one batch at least."""

REMOTE_SLICE_BYTES_MIN = 1024
"""The smallest stretch, element bytes: below it the commit's own cost is all there is."""

AT_WORK_SECONDS = 15.0
"""People work at a node so long after a local transaction, seconds."""

COLLECTOR_THRESHOLDS = (2_000, 1_000, 10)
"""Python's `gc.set_threshold` of a node's process: the young are looked at often, 3 ms at most, the rest in quiet hours."""

COLLECT_SECONDS = 600.0
"""How often a node's process looks for cycles among everything in memory, if nobody works there, seconds."""

KEYS_REMEMBERED_MAX = 16_384
"""Batches whose keys are remembered for the next node below that is sent them."""

KEYS_REMEMBERED_BYTES_MAX = 512
"""Longest batch whose keys are remembered, bytes: all of them take 6 MB as movements of stock, and 80 MB where each names as many keys as it can."""

SLICE_SECONDS = 0.001
"""How long a document is loaded, or cut up for a peer, at a stretch before others have their turn, seconds; one step at
least."""

READ_ROWS = 128
"""Rows of the by-sequence index read at a time: a local write waits no longer than that."""

COUNTED_ROWS = 4_096
"""Rows of it whose keys are counted at a time; that takes about as long as reading the others."""

ALERT_SILENT_MINUTES = 60
"""How long a node may not be heard of before it is an alert, minutes."""

ALERT_OLD_HOURS = 24
"""How old the oldest record to send may be before it is an alert, hours."""

ALERT_PAUSED_MS = 24 * 3600 * 1000
"""How long a link or category may be paused before it is an alert, milliseconds."""

GONE_MS = 30 * 24 * 3600 * 1000
"""A node below that was not heard of for so long is taken for one that is no more, and forgotten, milliseconds."""

DISK_FREE_BYTES_MIN = 500_000_000
"""Free space below which the disk counts as nearly full, bytes."""

DISK_FREE_PERCENT_MIN = 5
"""The same as a part of the disk, percent."""

BACKUP_DAYS_MAX = 7
"""How old a head office's newest backup may be before `doctor` says so, days."""

DOCTOR_SECONDS_MAX = 3.0
"""How long `doctor` waits for the node above to answer, seconds."""

LOG_BYTES_MAX = 5_000_000
"""Size at which `run --log-file` begins a new file, bytes."""

LOG_FILES_KEPT = 5
"""How many full log files are kept beside the one that is written."""

HEARD_SECONDS = 300.0
"""How old the stored time of a node's last word may be, seconds."""

NONCE_BYTES = 32
"""A challenge: it never comes twice."""

KEY_BYTES = 32
"""A device's public key (Ed25519)."""

SIGNATURE_BYTES = 64
"""A signature made with it."""

PAIRING_HOURS = 24
"""How long a pairing code can be used unless its maker says otherwise, hours."""

PAIRING_HOURS_MAX = 24 * 30
"""How long a pairing code may be used at the most, hours."""

ALIVE_SECONDS = 3.0
"""How long the older connection of a device may take to answer before a newer one takes its place, seconds."""

DOUBLED_MS = 15 * 60 * 1000
"""How long a refused second connection of a device stays an alert, milliseconds: more than the longest wait between tries."""

TAKES_BACK_MS = 24 * 3600 * 1000
"""How long a node takes back what nodes below hold of its own logs, once a person said so, milliseconds."""

HELLO_SECONDS_MAX = 5.0
"""How long the first word of a new connection may take, one way, seconds."""

STORE_GROUP_COMMITS = 64
"""Commits that may share one transaction: bounds the write-ahead log and how long the last of them waits."""

DATA_BYTES_MAX = 256 * 1024
"""Update carried by one data frame, bytes."""

FRAME_BYTES_MAX = 512 * 1024
"""Encoded size of one frame without its checksum, bytes: a data frame with the longest cut, or a page, fits."""

FRAME_MAPS_MAX = 4_096
"""Maps in one frame: an empty one takes a byte on the wire and 64 in memory."""

PAGE_ENTRIES_MAX = 1_500
"""Documents and replicas on one page of digests, heads, plan or fence: with the longest names, under a frame."""

LINK_ENTRIES_MAX = 100_000
"""Documents and replicas in all pages of one such frame: bounds what a peer can make this node hold."""

NAME_CHARS_MAX = 64
"""Length of a device, account, store, role, category or software name, characters."""

MESSAGE_CHARS_MAX = 1_000
"""Length of the message of a refusal, characters."""

WINDOW_FRAMES_MAX = 32
"""Data frames that may wait for an acknowledgement."""

WINDOW_BYTES_MAX = 4 << 20
"""Update bytes that may wait for an acknowledgement."""

ANSWER_SECONDS_MAX = 30.0
"""How long a peer may owe a word, seconds."""

DOCUMENTS_PER_LINK_MAX = 10_000
"""Documents that two peers may both hold."""

CATEGORIES_MAX = 256
"""Categories of one schema."""

CONNECTIONS_MAX = 1_024
"""Downstream connections of one node."""

PING_SECONDS = 20.0
"""Time between two pings of an idle connection, and the longest wait for the answer."""

CLOSE_SECONDS_MAX = 2.0
"""How long a closing handshake may take."""

CHANNEL_MESSAGES_MAX = 64
"""Messages under way in one direction of an in-memory channel before `send` waits."""

MESSAGES_QUEUED_MAX = 8
"""Messages that a websocket holds for a reader before it stops reading: at most 4 MiB a connection."""

LIVE_SECONDS = 0.02
"""How long a live link that has just synchronized gathers changes before it does so again."""

CONTROL_LINE_BYTES_MAX = 16 << 20
"""One request or answer on the control socket, bytes."""

TIDY_SECONDS = 30.0
"""Time between two rounds of compaction, squashing and unloading of idle documents."""

JOURNAL_ROWS_MAX = 4_096
"""Journal rows of one document after which they are stored as one snapshot."""

JOURNAL_BYTES_MIN = 4 << 20
"""Bytes of a document's journal below which a compaction that came in is no reason to store it anew."""

AT_WORK_PATIENCE = 2
"""While people work at a node, a compaction or a snapshot waits until there is so many times as much of it to do."""

COMPACTION_CHANCE_SECONDS_MAX = 120.0
"""How long the next upload is waited for when a compaction is due and people leave no gap, seconds. They do not wait meanwhile."""

COMPACTION_WAIT_SECONDS = 2.5
"""How long transactions wait at most, when a compaction is due and what is being sent up is all that the node above lacks, seconds:
times as much as there is more to do than makes one worth while."""

CONTROL_SECONDS_MAX = 5.0
"""How long the greeting and the request of a control connection may each take, seconds; answers take what they take."""

CONTROL_CALLERS_MAX = 64
"""Control connections of one node at a time."""

STORE_WAIT_SECONDS_MAX = 10.0
"""How long a command waits for a store that another command, or a node that starts or stops, has open."""

LOAD_BYTES_LARGE = 4 << 20
"""A document of this size, as stored, leaves enough free memory behind its loading to give it back to the system."""

MONITOR_BODY_BYTES_MAX = 1 << 20
"""Body of one request to the local API, bytes."""

MONITOR_ENTER_BYTES_MAX = 4 * 1024
"""Body of a request by which a browser enters, bytes."""

MONITOR_ARRIVAL_SECONDS = 10.0
"""How long the head of a request may take to arrive, and its body, seconds."""

MONITOR_HEAD_BYTES_MAX = 256 * 1024
"""First line and headers of one request to the local API, bytes: a cursor of the changes may be long."""

MONITOR_CURSOR_CHARS_MAX = 192 * 1024
"""A cursor of the changes, characters; the rest of `MONITOR_HEAD_BYTES_MAX` is for what else a request says."""

MONITOR_CONNECTIONS_MAX = 256
"""Connections to the local API at a time."""

MONITOR_STREAMS_MAX = 32
"""Streams of events that the local API serves at a time."""

MONITOR_STREAM_SECONDS_MAX = 3600.0
"""How long one stream lasts before its reader connects again, and so shows again who it is, seconds."""

MONITOR_EVENT_SECONDS = 0.25
"""Shortest time between two events of a stream, seconds."""

MONITOR_WATCH_SECONDS = 1.0
"""How often a stream looks for what no listener is told, such as a link that came up, seconds."""

MONITOR_HEARTBEAT_SECONDS = 15.0
"""Longest silence of a stream, seconds."""

MONITOR_SESSION_SECONDS = 12 * 3600.0
"""How long a browser that does nothing stays known, seconds: a working day."""

MONITOR_SESSIONS_MAX = 64
"""Browsers known at a time; one more makes the one that did nothing for longest strange."""

MONITOR_FAILURES_MAX = 10
"""Wrong tokens within `MONITOR_FAILURE_SECONDS` after which no token is looked at for that long."""

MONITOR_FAILURE_SECONDS = 60.0
"""See `MONITOR_FAILURES_MAX`, seconds."""

MONITOR_OPERATIONS_MAX = 500
"""Operations of one transaction of the local API."""

MONITOR_ANSWERS_KEPT = 1_000
"""Transactions of the local API whose answer is kept for a repetition of the request."""

MONITOR_NODES_MEASURED_MAX = 1_000
"""Nodes below that have figures of their own for Prometheus, the first by name."""

MONITOR_CLOSE_SECONDS = 2
"""How long a request that is being answered may hold up the end of the node, seconds."""
