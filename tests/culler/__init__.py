"""The idle culler: its decisions, its doors, and the service against a hub that misbehaves."""
