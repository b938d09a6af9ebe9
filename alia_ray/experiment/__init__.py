"""Arms × seeds × amounts over one run folder, and the statistics."""
