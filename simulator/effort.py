"""How hard simulated chips hash: a nonce every two seconds from each, and most of the core left for others.

With C a chip's 2 MH/s cost a twelfth of a core (SHA-NI) to a third (portable C); from a midstate hashlib makes some
ten thousand in all.
"""

from shedload import hashing

SLOW = hashing.backend == "hashlib"
HASHRATE = 1_500.0 if SLOW else 2e6
"""Hashes a second of one simulated device."""
NONCE_DIFFICULTY = 7.5e-7 if SLOW else 0.001
"""Of the nonces it reports, and of the shares a simulated pool asks for: two seconds' work for one device."""
