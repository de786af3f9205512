"""Plan, apply, read back, put back: versions on their way into Production, all of a file or none."""
