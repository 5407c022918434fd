"""The pages of machines and the ways to act on one. No rules here: parse, call a service or a selector, answer."""
