"""ALIA (arXiv 2305.16289) as distributed batch processing on Ray."""
