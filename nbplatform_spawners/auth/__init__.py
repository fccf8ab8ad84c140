"""Authenticators that keep the identity in auth_state."""
