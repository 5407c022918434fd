"""The site at a glance, for who answers for it."""
