"""Whether the numbers of a report, a pipeline or a run still hold.

`subject` says what is to be verified, `rerun` runs it again, `compare` sets both beside one another, and
`page` writes what came out.
"""

from workbench.verification.verify import Verification, verify

__all__ = ["Verification", "verify"]
