"""The daemon: prices and readings in, plans, commands and work out."""
