"""The online system (§5): from a user's id to a slate of items."""
