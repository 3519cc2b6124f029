"""Rigs, meters and grids that never existed, speaking the real bytes."""
