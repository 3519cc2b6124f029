"""`python -m dashboards`: write dashboards and the page of metrics anew."""

from dashboards.generate import write

if __name__ == "__main__":
    write()
