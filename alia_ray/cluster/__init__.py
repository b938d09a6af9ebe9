"""Joining Ray, and what runs where."""
