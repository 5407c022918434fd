"""Pure planning: a spec in, argument lists, files and rules out. No file, process, network or clock."""
