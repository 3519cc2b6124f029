"""Bitcoin as miners and pools need it: headers, merkle roots, targets, subsidies, coinbases. Pure arithmetic."""
