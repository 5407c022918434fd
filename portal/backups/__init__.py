"""Backups of machines: taken by a person or by a plan, kept beyond the machine, made into machines again."""
