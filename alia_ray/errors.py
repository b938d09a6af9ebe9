"""What can go wrong in a way that a person can mend."""


class StageError(RuntimeError):
    """A stage that cannot go on. The message says why and what to do."""


class FullDiskError(OSError):
    """Nothing more can be written. The message says where, and what to do."""
