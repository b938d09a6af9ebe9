"""The run folder -> one HTML page that needs nothing beside it."""
