"""A page as a browser takes it apart: what it says, loads, and runs."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from typing import Any


class ParsedPage(HTMLParser):
    """Checks that tags close in their order, and collects what a page says, loads and holds."""

    VOID = ("meta", "line", "rect", "wbr")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.said: list[str] = []
        self.loads: list[str] = []
        self.leads: list[str] = []
        self.ids: list[str] = []
        self.scripts: list[tuple[str, str]] = []
        self.headings: list[tuple[str, str]] = []
        self.policy = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "script":
            self.scripts.append((given.get("type") or "", ""))
        if given.get("http-equiv") == "Content-Security-Policy":
            self.policy = str(given["content"])
        named = [str(v) for k, v in attrs if k in ("src", "href")]
        self.leads += [v for v in named if v.startswith("#")]
        self.loads += [v for v in named if not v.startswith("#")]
        self.ids += [str(v) for k, v in attrs if k == "id"]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in self.VOID

    def handle_data(self, data: str) -> None:
        inside = self.open[-1] if self.open else ""
        if inside == "script":
            kind, text = self.scripts.pop()
            self.scripts.append((kind, text + data))
        elif inside != "style":
            self.said.append(data)
            if inside in ("h1", "h2", "h3"):
                self.headings.append((inside, data))

    @property
    def pictures(self) -> dict[str, Any]:
        """The specifications of its pictures, by name."""
        held = [text for kind, text in self.scripts if kind == "application/json"]
        return json.loads(held[0]) if held else {}

    def only_its_own_scripts_run(self) -> bool:
        """Whether its policy admits exactly the scripts that it has, by what they are."""
        admitted = re.findall(r"'sha256-([^']+)'", self.policy)
        digests = [
            base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
            for kind, text in self.scripts
            if kind == ""
        ]
        return admitted == digests and "script-src 'sha256" in self.policy
