"""What may run by somebody else's list, as a policy names it (``[ima] runtime_policy`` of a policy)."""

from __future__ import annotations

from dataclasses import dataclass, field

from pyverify.evidence.runtime_policy import RuntimePolicy


@dataclass(frozen=True, slots=True)
class NamedRuntimePolicy:
    """A runtime policy as a file had it. Files of equal bytes are one rule, whatever they are called."""

    sha256: bytes
    rules: RuntimePolicy = field(compare=False)
    file: str = field(default="", compare=False)
