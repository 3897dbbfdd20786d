"""The audit of a data set: what it holds and what is wrong with it."""

from geocsp.data.audit.findings import Finding, Severity, Topic
from geocsp.data.audit.report import write_audit
from geocsp.data.audit.run import Audit, audit

__all__ = ["Audit", "Finding", "Severity", "Topic", "audit", "write_audit"]
