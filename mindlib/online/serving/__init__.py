"""The online system (§5): from a user's id to the list that she is shown."""
