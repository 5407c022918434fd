"""The effects of the steps: what is really done with a machine on its host, one subject a file."""
