"""The way an artifact travels from the one who built it to the one who runs it."""
