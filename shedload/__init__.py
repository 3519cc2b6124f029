"""What the rest of shedload means: units, device model, wire protocols and hashing.

Nothing here does I/O, reads a clock or draws a random number: `now` is an argument, bytes go in, events and bytes come
out.
"""
