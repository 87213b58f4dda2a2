"""Errors of the folders that a server reads: exports and bundles."""

from __future__ import annotations


class ArtifactError(ValueError):
    """A folder cannot be served. The message names the part, the damage and the remedy."""


class MissingPart(ArtifactError):
    """A part does not exist."""


class DamagedPart(ArtifactError):
    """A part differs from the one that was written: it is damaged or of another version."""


class MismatchedPart(ArtifactError):
    """The parts do not fit each other or this version of mindlib."""
