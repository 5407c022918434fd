"""Asking for what is not to be had at once: a machine over the quota, a larger quota; and deciding about it."""
