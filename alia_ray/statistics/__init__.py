"""Differences between classifiers, and how sure they are."""
