"""Classes: machines for many people, made of one template in one go, and operated together."""
