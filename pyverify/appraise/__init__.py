"""Policy, evidence and references in; findings and a verdict out."""
