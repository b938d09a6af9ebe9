"""Bytes from anywhere to pixels and to the bytes that are kept: opening, then colour, then storing."""
