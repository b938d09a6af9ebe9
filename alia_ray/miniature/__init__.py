"""A small painted world, and small models of the real classes trained on it: no GPU, no model hub."""
