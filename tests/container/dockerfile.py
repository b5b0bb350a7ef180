"""A reader of Dockerfiles for the instructions that the gateway's uses: comments, continued lines, exec form."""

import json
import shlex
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Instruction:
    """One instruction: ``COPY`` and the rest of it, continued lines joined."""

    name: str
    text: str


def parse(source: str) -> list[Instruction]:
    """The instructions in order; comment lines are dropped also between continued lines, as Docker does."""
    lines = [line for line in source.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [Instruction(*_split(line)) for line in joined.splitlines()]


@dataclass(frozen=True)
class Dockerfile:
    """The instructions of one file, by name."""

    instructions: list[Instruction]

    @classmethod
    def read(cls, path: Path) -> "Dockerfile":
        return cls(parse(path.read_text(encoding="utf-8")))

    def all(self, name: str) -> list[str]:
        return [instruction.text for instruction in self.instructions if instruction.name == name]

    def last(self, name: str) -> str:
        """The text of the last instruction of this name: the one that counts for USER, CMD and HEALTHCHECK."""
        return self.all(name)[-1]

    def environ(self) -> dict[str, str]:
        return dict(pair.split("=", 1) for text in self.all("ENV") for pair in shlex.split(text))

    def copies(self) -> list[tuple[list[str], str]]:
        """Sources and destination of each COPY."""
        copies = [shlex.split(text) for text in self.all("COPY")]
        return [(names[:-1], names[-1]) for names in copies]

    def command(self) -> list[str]:
        return exec_form(self.last("CMD"))

    def healthcheck(self) -> list[str]:
        return exec_form(self.last("HEALTHCHECK").partition("CMD")[2])


def exec_form(text: str) -> list[str]:
    """The argument vector of an exec form, which is JSON; ValueError for a shell form."""
    return [str(word) for word in json.loads(text)]


def _split(line: str) -> tuple[str, str]:
    name, _, text = line.strip().partition(" ")
    return name.upper(), text.strip()
