"""The run folder: its tables, their schemas and ids, and where they lie."""
