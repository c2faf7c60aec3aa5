"""How bytes travel: channels over websockets, and an in-memory twin that drops, delays, repeats and reorders."""
