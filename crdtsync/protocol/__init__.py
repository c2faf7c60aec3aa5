"""What peers say to each other: frames, the table of the conversation, and the session that walks it."""
