"""Price sources, one file each; a source turns what a supplier publishes into a PriceSeries."""
