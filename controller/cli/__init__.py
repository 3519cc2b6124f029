"""The command line: the only place, with `controller.__main__`, that prints."""
