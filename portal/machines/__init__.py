"""Machines: what people want and what is known of them."""
