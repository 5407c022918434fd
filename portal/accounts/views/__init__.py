"""The pages of people and their accounts."""
