"""What one check found. Pure."""

from enum import StrEnum

from msgspec import Struct


class Grade(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    """It works, and will not for everyone or not for long."""
    FAILED = "failed"
    """It does not work."""


class Finding(Struct, frozen=True, omit_defaults=True):
    """One line for an operator. ``advice`` says what to do; there is none when all is well."""

    name: str
    grade: Grade
    detail: str
    advice: str = ""


class Diagnosis(Struct, frozen=True):
    """All findings. ``well``: nothing failed."""

    well: bool
    findings: list[Finding]


class Trouble(Exception):  # noqa: N818 - a warning is none
    """A check found something. The texts hold no secrets and nobody's data."""

    def __init__(self, detail: str, advice: str, grade: Grade = Grade.FAILED) -> None:
        super().__init__(detail)
        self.detail, self.advice, self.grade = detail, advice, grade


def concern(detail: str, advice: str) -> Trouble:
    """A warning."""
    return Trouble(detail, advice, Grade.WARNING)


def shown(diagnosis: Diagnosis) -> str:
    """For reading: one line a finding, what to do below it, and the sum."""
    marks = {Grade.OK: "ok     ", Grade.WARNING: "WARNING", Grade.FAILED: "FAILED "}
    lines = []
    for finding in diagnosis.findings:
        lines.append(f"{marks[finding.grade]}  {finding.name}: {finding.detail}")
        if finding.advice:
            lines.append(f"         -> {finding.advice}")
    failed = sum(finding.grade is Grade.FAILED for finding in diagnosis.findings)
    warnings = sum(finding.grade is Grade.WARNING for finding in diagnosis.findings)
    said = [f"{number} {word}" for number, word in ((failed, "failed"), (warnings, "to look at")) if number]
    lines.append(f"\n{len(diagnosis.findings)} checks: {', '.join(said) or 'all well'}.")
    return "\n".join(lines)
