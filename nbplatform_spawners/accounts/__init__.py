"""Account directories: where accounts come from."""
