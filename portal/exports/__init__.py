"""Machines as files for other virtualizers: written by a host, kept here for some days, downloaded."""
