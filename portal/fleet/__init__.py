"""The hosts: what they are, have and report."""
