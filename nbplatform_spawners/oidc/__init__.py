"""What OpenID Connect tokens say, checked: pure."""
