"""The stages: each turns tables of the run folder into the next one, on Ray."""
