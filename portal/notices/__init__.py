"""What people are told: on a page of their own, by a bell on every page, by mail where they like."""
