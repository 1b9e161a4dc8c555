"""What an examination found: findings, and a report of them as text and as JSON."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Literal

__all__ = ["SEVERITIES", "Finding", "Report", "Severity", "plural"]

Severity = Literal["error", "warning", "note"]
"""How bad: training stops or its scores deceive; training learns something wrong; good to know."""

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
"""The worst first."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong, or odd.

    Attributes:
        check: name of the check, e.g. near-duplicate.
        severity: how bad it is.
        line: of `metadata.jsonl`, from 1; None where the whole folder is meant, or a file that no line names.
        sentence: what is wrong and what to do about it.
        pictures: to look at; they may be missing or unreadable.
    """

    check: str
    severity: Severity
    line: int | None
    sentence: str
    pictures: tuple[Path, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything one examination found.

    Attributes:
        folder: of the pairs.
        task: its name, or empty.
        against: the other folders.
        listed: lines of `metadata.jsonl` that are not blank.
        read: pairs whose pictures could be read.
        sizes: (reference, target) and how many pairs have these sizes, most frequent first.
        captions: how many different ones there are.
        findings: the worst first, then by check and line.
    """

    folder: Path
    task: str
    against: tuple[Path, ...]
    listed: int
    read: int
    sizes: tuple[tuple[str, int], ...]
    captions: int
    findings: tuple[Finding, ...]

    def count(self, severity: Severity) -> int:
        """Return how many findings are that bad."""
        return sum(finding.severity == severity for finding in self.findings)

    def to_text(self, most: int = 10) -> str:
        """Return the report for a terminal, at most so many findings of each check."""
        lines = [*self.summary(), ""] if self.findings else list(self.summary())
        for _, group in groupby(self.findings, lambda finding: (finding.severity, finding.check)):
            found = list(group)
            lines += [_line(finding) for finding in found[:most]]
            if len(found) > most:
                lines.append(f"{'':28} ... {len(found) - most} more of {found[0].check}: --json FILE lists all")
        return "\n".join(lines)

    def summary(self) -> Iterator[str]:
        """Yield what was examined and how many findings there are."""
        commonest = f", {self.sizes[0][1]} of {self.sizes[0][0]}" if self.sizes else ""
        yield f"{self.folder}: {self.listed} pairs listed, {self.read} read{commonest}, {self.captions} captions"
        yield ", ".join(plural(self.count(severity), severity) for severity in SEVERITIES)

    def to_json(self) -> str:
        """Return everything."""
        counts = Counter(finding.severity for finding in self.findings)
        facts = {**asdict(self), "counts": {severity: counts[severity] for severity in SEVERITIES}}
        return json.dumps(facts, indent=2, default=str, ensure_ascii=False) + "\n"


def plural(count: int, word: str) -> str:
    """Return a number of things as people write it."""
    return f"{count} {word}{'' if count == 1 else 's'}"


def _line(finding: Finding) -> str:
    """Return one finding for a terminal."""
    where = "folder" if finding.line is None else f"line {finding.line}"
    return f"{finding.severity:8} {where:10} {finding.check:17} {finding.sentence}"
