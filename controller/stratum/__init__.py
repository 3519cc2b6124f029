"""Upstream pools, and the dispatch of their work to serial chips."""
