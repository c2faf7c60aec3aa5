"""Who a device is and how it proves it: its key, the code that admits it, the certificate of a node's port.

The only import of `cryptography`. Nothing here decides who may connect, opens a socket or knows a store.
"""
