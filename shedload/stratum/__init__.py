"""Stratum V1 without a socket: bytes in, events out, bytes to send out.

    lines -> messages -> client | server        jobs, shares, vardiff, extranonce: bookkeeping both ends share

`client` speaks to a pool; `server` speaks to one rig (simulated pool, proxy). Neither awaits, neither reads a
clock: `now` (monotonic seconds) is an argument, deadlines are asked for with `next_deadline`, told with `tick`.
"""
