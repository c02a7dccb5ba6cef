"""Assessments in, text out: terminal, HTML, JSON, Markdown and per-row tables. Nothing here prints, measures or decides."""
