"""Shows: Grafana dashboards and the page of metrics, built from code; `python -m dashboards` writes them anew."""
