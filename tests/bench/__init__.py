"""The product measured against the same done by hand; `python -m tests.bench` prints one table."""
