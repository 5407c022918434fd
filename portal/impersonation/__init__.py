"""An administrator looks at the site as somebody else, for an hour, with a reason; the person is told."""
