"""Classifiers: how trainings are shared out, the loop, what it reads, and how one is measured."""
