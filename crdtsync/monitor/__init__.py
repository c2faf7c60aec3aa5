"""The page and the local API of a running node, for programs and browsers on the same machine."""
