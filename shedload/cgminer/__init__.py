"""The CGMiner API without a socket, client and server side.

    bytes -> codec (text, scan) -> repair -> parse -> values -> drivers

`codec` frames one request and one reply, `repair` mends each firmware's broken JSON by name, `parse` knows status and
sections, `values` reads one field.
"""
