"""What a run made, as files for any trainer."""
