"""Small pictures of machines' screens, taken only while somebody looks."""
