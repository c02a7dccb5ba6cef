"""Steps around an endpoint: who is let in, and what of an answer is shown. numpy and core only, never torch."""
