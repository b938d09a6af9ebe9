"""What an edit is asked for, which are tried, which are kept and which are drawn: pure functions, without Ray."""
