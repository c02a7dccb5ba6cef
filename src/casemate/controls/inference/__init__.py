"""Stages in front of a model."""
