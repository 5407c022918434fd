"""The way from a browser to a machine's screen."""
