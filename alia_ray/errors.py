"""What can go wrong in a way that a person can mend."""


class StageError(RuntimeError):
    """A stage that cannot go on. The message says why and what to do."""
